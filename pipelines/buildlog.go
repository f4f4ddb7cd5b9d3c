package pipelines

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// buildLog turns Nix's log of one realisation into events, log files and a verdict for each derivation.
// A lock guards it, since it is asked for stalls while Nix writes.
type buildLog struct {
	r      *Release
	system matrix.System

	mu       sync.Mutex
	running  map[uint64]*running // by Nix's number of the activity
	ended    map[nix.StorePath]*running
	failures map[nix.StorePath]*Failure
	other    []*Failure // of no derivation
	fetched  map[nix.StorePath]bool
	bytes    map[uint64]int64 // downloaded, by activity
	shown    time.Time        // when Fetched was last reported
	warned   map[string]bool
	// Nix closes a derivation's activity only when all that it was asked for is done, but counts a good build at once.
	// finishes holds, for each count without a name, when it came; see attribute.
	finishes []finish
	builds   uint64 // Nix's number of the activity that counts
	counted  int64
	seq      int64
	// Nix may tell a failure only after it has closed the activity: undecided holds what waits for that.
	undecided map[nix.StorePath]*running
	blamed    func(drv nix.StorePath, tail []string) *Line // nil where nothing is known of the flake; see blame
}

// running is a derivation being built.
type running struct {
	drv            nix.StorePath
	machine        string // the remote builder, as Nix names it; empty for a local build
	phase          string
	started, heard time.Time
	stalledAt      time.Time // the time of heard when a stall was last reported
	seq            int64     // of the last line
	log            *logFile
	seconds        float64
}

type finish struct {
	at  time.Time
	seq int64
}

func newBuildLog(r *Release, system matrix.System) *buildLog {
	return &buildLog{
		r: r, system: system,
		running: map[uint64]*running{}, ended: map[nix.StorePath]*running{}, failures: map[nix.StorePath]*Failure{},
		fetched: map[nix.StorePath]bool{}, bytes: map[uint64]int64{}, warned: map[string]bool{}, undecided: map[nix.StorePath]*running{},
	}
}

// entry takes one line of Nix's log.
func (l *buildLog) entry(e nix.LogEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Action {
	case nix.LogStart:
		l.start(e)
	case nix.LogStop:
		if b := l.running[e.ID]; b != nil {
			l.stop(e.ID, b)
		}
	case nix.LogResult:
		l.result(e)
	case nix.LogMessage:
		l.message(e)
	}
}

func (l *buildLog) start(e nix.LogEntry) {
	switch e.Type {
	case nix.ActivityBuild:
		now := l.r.Now()
		drv := nix.StorePath(e.String(0))
		l.running[e.ID] = &running{drv: drv, machine: e.String(1), started: now, heard: now, seq: l.next(), log: newLogFile(l.r.LogDir, l.system, drv)}
		l.r.event(BuildStarted{System: l.system, Derivation: drv})
	case nix.ActivityBuilds:
		l.builds = e.ID
	case nix.ActivitySubstitute, nix.ActivityCopyPath:
		l.fetched[nix.StorePath(e.String(0))] = true
	case nix.ActivityFileTransfer:
		l.bytes[e.ID] = 0
	}
}

func (l *buildLog) result(e nix.LogEntry) {
	b := l.running[e.ID]
	switch e.Type {
	case nix.ResultBuildLogLine:
		if b != nil {
			l.line(b, e.String(0))
		}
	case nix.ResultSetPhase:
		if b != nil {
			b.phase = e.String(0)
			b.heard, b.seq = l.r.Now(), l.next()
			l.r.event(BuildPhase{System: l.system, Derivation: b.drv, Phase: b.phase})
		}
	case nix.ResultProgress:
		if _, ok := l.bytes[e.ID]; ok {
			l.bytes[e.ID] = e.Int(0)
			l.showFetched()
		} else if e.ID == l.builds {
			l.count(e.Int(0))
		}
	}
	l.attribute()
}

func (l *buildLog) line(b *running, text string) {
	b.heard, b.seq = l.r.Now(), l.next()
	text = nix.PlainText(lastDrawn(text))
	b.log.line(b.phase, text)
	l.r.event(BuildLine{System: l.system, Derivation: b.drv, Phase: b.phase, Text: text})
}

// lastDrawn returns what a terminal would show of a line that draws over itself, as progress bars do.
func lastDrawn(line string) string {
	line = strings.TrimRight(line, "\r")
	return line[strings.LastIndexByte(line, '\r')+1:]
}

// message takes what Nix itself says: errors of derivations, and warnings.
func (l *buildLog) message(e nix.LogEntry) {
	switch e.Level {
	case 0:
		text := e.RawMsg
		if text == "" {
			text = e.Msg
		}
		drv, f := classify(text)
		if drv == "" {
			l.other = append(l.other, f)
			return
		}
		l.fail(drv, f)
	case 1:
		text := strings.TrimPrefix(nix.Redact(nix.FirstLine(nix.PlainText(e.Msg))), "warning: ")
		text, _, _ = strings.Cut(strings.TrimPrefix(text, "error: "), "; retrying in ") // the same each time
		// Nothing is rooted: the export follows at once, and realises again what a collector has taken in between.
		if !l.warned[text] && !strings.Contains(text, "--add-root") {
			l.warned[text] = true
			l.r.event(Notice{System: l.system, Level: Warning, Text: text})
		}
	}
}

// fail notes why a derivation failed, and ends it where it has not ended yet.
func (l *buildLog) fail(drv nix.StorePath, f *Failure) {
	if known := l.failures[drv]; known != nil && known.Kind != UnknownFailure {
		return
	}
	l.failures[drv] = f
	if b := l.undecided[drv]; b != nil {
		delete(l.undecided, drv)
		l.finish(b, l.r.Now())
	}
	for id, b := range l.running {
		if b.drv == drv {
			delete(l.running, id)
			l.finish(b, l.r.Now())
		}
	}
}

// stop is for an activity that Nix has closed. Without a failure and without a count, it is not known yet how it ended.
func (l *buildLog) stop(id uint64, b *running) {
	delete(l.running, id)
	switch {
	case l.failures[b.drv] != nil:
		l.finish(b, l.r.Now())
	case len(l.finishes) > 0:
		l.finish(b, l.finishes[0].at)
		l.finishes = l.finishes[1:]
	default:
		b.seconds = seconds(l.r.Now().Sub(b.started))
		l.undecided[b.drv] = b
	}
}

// count takes the number of good builds so far.
func (l *buildLog) count(done int64) {
	for now := l.r.Now(); l.counted < done; l.counted++ {
		l.finishes = append(l.finishes, finish{at: now, seq: l.next()})
	}
}

// attribute finds out which builds a count was about: those that have said nothing since,
// as soon as there are no more of them than counts.
func (l *buildLog) attribute() {
	if len(l.finishes) == 0 {
		return
	}
	first := l.finishes[0]
	var silent []uint64
	for id, b := range l.running {
		if b.seq < first.seq {
			silent = append(silent, id)
		}
	}
	if len(silent) > len(l.finishes) {
		return
	}
	slices.Sort(silent)
	for i, id := range silent {
		b := l.running[id]
		delete(l.running, id)
		l.finish(b, l.finishes[i].at)
	}
	l.finishes = l.finishes[len(silent):]
}

// finish reports the end of a build whose failure, if it has one, is known.
func (l *buildLog) finish(b *running, at time.Time) {
	b.seconds = seconds(at.Sub(b.started))
	f := l.failures[b.drv]
	if f != nil {
		f.Phase = b.phase
		f.refine(b.log.tail)
		f.At = l.at(b)
	}
	b.log.close()
	l.ended[b.drv] = b
	l.r.event(BuildFinished{
		System: l.system, Derivation: b.drv, Machine: b.machine, Seconds: b.seconds, Failure: f, Log: b.log.path, Tail: slices.Clone(b.log.tail),
	})
}

// succeeded returns the derivations that were built well and are none of the packages' own, in order.
func (l *buildLog) succeeded(packages []*PackageResult) []nix.StorePath {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := map[nix.StorePath]bool{}
	for _, p := range packages {
		own[p.Derivation] = true
	}
	var good []nix.StorePath
	for drv := range l.ended {
		if l.failures[drv] == nil && !own[drv] {
			good = append(good, drv)
		}
	}
	slices.Sort(good)
	return good
}

// close ends what Nix has left open, when it has ended itself: with an error, as when it is killed, or well.
// A remote builder's builds are left open until then, and not always counted.
func (l *buildLog) close(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.running {
		l.undecided[b.drv] = b
	}
	l.running = map[uint64]*running{}
	for _, drv := range slices.Sorted(maps.Keys(l.undecided)) {
		if err != nil {
			l.fail(drv, &Failure{Kind: UnknownFailure, Message: "Nix ended before the build did"})
		} else {
			l.finish(l.undecided[drv], l.r.Now())
			delete(l.undecided, drv)
		}
	}
}

const showEvery = 200 * time.Millisecond

func (l *buildLog) showFetched() {
	now := l.r.Now()
	if now.Sub(l.shown) < showEvery {
		return
	}
	l.shown = now
	var sum int64
	for _, n := range l.bytes {
		sum += n
	}
	l.r.event(Fetched{System: l.system, Bytes: sum, Paths: len(l.fetched)})
}

// watch reports builds that say nothing for the duration, until the function it returns is called.
func (l *buildLog) watch(ctx context.Context, stall time.Duration) (stop func()) {
	if stall <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(max(stall/4, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.reportStalls(stall)
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (l *buildLog) reportStalls(stall time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.r.Now()
	for _, b := range l.running {
		if now.Sub(b.heard) >= stall && b.stalledAt != b.heard {
			b.stalledAt = b.heard
			l.r.event(BuildStalled{
				System: l.system, Derivation: b.drv, Silent: seconds(now.Sub(b.heard)), Tail: slices.Clone(b.log.tail),
			})
		}
	}
}

func (l *buildLog) next() int64 { l.seq++; return l.seq }

// onlySubstitutersFailed reports whether nothing but caches was at fault.
func (l *buildLog) onlySubstitutersFailed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := false
	for _, f := range l.failures {
		switch f.Kind {
		case SubstituterFailed:
			found = true
		case DependencyFailed:
		default:
			return false
		}
	}
	for _, f := range l.other {
		found = found || f.Kind == SubstituterFailed
	}
	return found
}

// settle writes the package's verdict, by what the store has and by what the log told.
func (l *buildLog) settle(p *PackageResult, invalid map[nix.StorePath]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.ended[p.Derivation]
	if b != nil {
		p.Seconds, p.Log = b.seconds, strings.TrimPrefix(b.log.path, l.r.LogDir+"/")
	}
	p.Verdict = Present
	for _, o := range p.Outputs {
		if invalid[o.Path] {
			p.Verdict, p.Failure = Failed, l.failures[p.Derivation]
			if p.Failure != nil && p.Failure.Kind == DependencyFailed {
				p.Failure = l.rootCause(p.Failure)
			}
			return
		}
		if l.fetched[o.Path] {
			p.Verdict = Substituted
		}
	}
	if b != nil {
		p.Verdict = Built
	}
}

// rootCause names the derivation that a failed dependency goes back to.
func (l *buildLog) rootCause(f *Failure) *Failure {
	causes := make([]nix.StorePath, 0, len(l.failures))
	for drv, cause := range l.failures {
		if cause.Kind != DependencyFailed {
			causes = append(causes, drv)
		}
	}
	if len(causes) == 0 {
		return f
	}
	cause := slices.Min(causes)
	root := *l.failures[cause]
	root.Message = fmt.Sprintf("its dependency %s: %s", cause.Name(), root.Message)
	if root.Kind == BuilderFailed {
		root.Kind = DependencyFailed
	}
	return &root
}
