// Package buildlog reads the log that Nix writes in its internal-json format while it builds.
//
// A [Log] reports the builds as events, keeps a log file of each build, and determines how each build ended.
package buildlog

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Config says which builds a log is about, and where it reports them.
type Config struct {
	run.Recorder
	System   matrix.System
	Logs     *regular.Dir  // the directory of the log files
	Stall    time.Duration // silence after which a build is reported as stalled; 0 for never
	Packages []*run.PackageResult
	Snapshot run.Snapshot // of the flake that defines the packages
	// Builders are the remote builders. The log calls Unreachable for each of them that Nix cannot reach.
	Builders    []nix.Builder
	Unreachable func(builder, reason string)
}

// Log reads the logs of one or more commands of Nix that build derivations. It reports events, writes log files, and
// determines the result of each build. A result is certain: Nix's error message names the derivation, or Nix's counts
// leave no other possibility, or the store was queried. Before that, the build is undecided.
// While a command runs, a lock guards the fields: they are measured and searched for stalled builds while Nix writes.
// Between commands, only one goroutine may use a log.
type Log struct {
	Config
	// known has the derivations that the plan builds, as far as Nix could show them.
	known    map[nix.StorePath]nix.Derivation
	byOutput map[nix.StorePath]nix.StorePath // the derivation of an output
	meter    engine.ResourceMeter            // nil if the engine measures nothing

	mu          sync.Mutex
	builds      map[nix.StorePath]*build
	failures    map[nix.StorePath]*run.Failure
	fetched     map[nix.StorePath]bool
	bytes       map[uint64]int64 // downloaded, by activity
	reported    run.Throttle     // limits how often Fetched is reported
	warned      map[string]bool
	seq         int64
	full        fullDisk
	nixError    *run.Failure // the error of the last command of Nix that failed
	interrupted bool         // the run was interrupted or timed out during that command
	lost        lostBuilds
	attempt
}

// attempt is the state of one process of Nix.
type attempt struct {
	open   map[uint64]*build // by Nix's number of the activity
	errors []*run.Failure    // Nix's errors that name no derivation
	// claims are errors that a builder may have forged, by derivation. unnamedClaims are those that name no derivation.
	claims        map[nix.StorePath]*run.Failure
	unnamedClaims []*run.Failure
	plain         []string // the last lines that Nix wrote outside of its log's format
	counts
	oomKillsBefore int64 // processes that the kernel killed because memory ran out, before Nix started; -1 if unknown
}

func New(c Config) *Log {
	l := &Log{
		Config: c, byOutput: map[nix.StorePath]nix.StorePath{},
		builds: map[nix.StorePath]*build{}, failures: map[nix.StorePath]*run.Failure{},
		fetched: map[nix.StorePath]bool{}, bytes: map[uint64]int64{}, warned: map[string]bool{},
		attempt: newAttempt(),
	}
	for _, p := range c.Packages {
		for _, o := range p.Outputs {
			l.byOutput[o.Path] = p.Derivation
		}
	}
	return l
}

// SetDerivations sets the derivations that the next commands build.
func (l *Log) SetDerivations(known map[nix.StorePath]nix.Derivation) {
	l.known = known
	for drv, d := range known {
		for _, path := range d.Outputs {
			l.byOutput[path] = drv
		}
	}
}

// Run runs a command of Nix that writes its log in the internal-json format, and reads that log.
func (l *Log) Run(ctx context.Context, x engine.Executor, c engine.Command) error {
	l.newAttempt()
	stopMeasuring := l.measure(ctx, x)
	stopWatching := l.watch(ctx, l.Stall)
	lines := &nix.LogWriter{Entry: l.entry}
	c.Stderr = lines
	_, err := x.Run(ctx, c)
	lines.Flush()
	stopMeasuring()
	stopWatching()
	l.close(ctx, err)
	return err
}

func newAttempt() attempt {
	return attempt{open: map[uint64]*build{}, claims: map[nix.StorePath]*run.Failure{}, oomKillsBefore: -1}
}

func (l *Log) entry(e nix.LogEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Action {
	case nix.LogStart:
		l.start(e)
	case nix.LogStop:
		l.stop(e.ID)
	case nix.LogResult:
		l.result(e)
	case nix.LogMessage:
		l.message(e)
	case nix.LogPlain:
		l.plainLine(e)
	}
	l.decide()
}

func (l *Log) start(e nix.LogEntry) {
	switch e.Type {
	case nix.ActivityBuild:
		l.begin(e)
	case nix.ActivityBuilds:
		l.setCounter(e.ID)
	case nix.ActivitySubstitute, nix.ActivityCopyPath:
		l.fetched[nix.StorePath(e.String(0))] = true
	case nix.ActivityFileTransfer:
		l.bytes[e.ID] = 0
	}
}

// begin handles the start of a build. Over ssh-ng, Nix opens a second activity for the same derivation within the first:
// that of the remote Nix. Both are one build.
func (l *Log) begin(e nix.LogEntry) {
	drv, machine := nix.StorePath(e.String(0)), e.String(1)
	b := l.builds[drv]
	if b == nil || b.state != undecided || b.stale {
		now := l.Now()
		b = &build{drv: drv, started: now, lastHeard: now, startSeq: l.next(), oomKillsBefore: l.oomKills(), log: newLogFile(l.Logs, l.System, drv)}
		b.heardSeq = b.startSeq
		l.builds[drv] = b
		l.begun = append(l.begun, b)
		l.Event(run.BuildStarted{System: l.System, Derivation: drv})
	}
	b.machine = cmp.Or(b.machine, machine)
	b.activities++
	b.closeSeq = 0
	l.open[e.ID] = b
	l.noteProgress(l.seq)
}

func (l *Log) stop(id uint64) {
	b := l.open[id]
	if b == nil {
		return
	}
	delete(l.open, id)
	b.activities--
	if b.activities == 0 {
		b.closeSeq = l.next()
		l.lastClosed = b.closeSeq
		if b.state == undecided {
			b.seconds = run.Seconds(l.Now().Sub(b.started))
		}
	}
}

func (l *Log) result(e nix.LogEntry) {
	b := l.open[e.ID]
	switch e.Type {
	case nix.ResultBuildLogLine:
		if b != nil {
			l.line(b, e.String(0))
		}
	case nix.ResultSetPhase:
		if b != nil {
			b.phase = e.String(0)
			l.noteActivity(b)
			l.Event(run.BuildPhase{System: l.System, Derivation: b.drv, Phase: b.phase})
		}
	case nix.ResultProgress:
		if _, ok := l.bytes[e.ID]; ok {
			l.bytes[e.ID] = e.Int(0)
			l.reportFetched()
		} else if e.ID == l.counter {
			l.addCounts(e.Int(0), e.Int(3))
		}
	}
}

// maxEventLine bounds the text of an event. The log file has the whole line.
const maxEventLine = 1 << 20

func (l *Log) line(b *build, text string) {
	l.noteActivity(b)
	text = nix.PlainText(printable.LastDrawn(text))
	b.log.line(b.phase, text)
	l.Event(run.BuildLine{System: l.System, Derivation: b.drv, Phase: b.phase, Text: text[:min(len(text), maxEventLine)]})
}

func (l *Log) noteActivity(b *build) {
	before := b.heardSeq
	b.lastHeard, b.heardSeq = l.Now(), l.next()
	l.noteProgress(before)
}

// Built reports whether this log's commands certainly built a derivation.
func (l *Log) Built(drv nix.StorePath) bool {
	b := l.builds[drv]
	return b != nil && b.state == succeeded
}

// BuiltDependencies returns the derivations that were built, except those of the packages, in order.
func (l *Log) BuiltDependencies() []nix.StorePath {
	own := map[nix.StorePath]bool{}
	for _, p := range l.Packages {
		own[p.Derivation] = true
	}
	var good []nix.StorePath
	for _, drv := range slices.Sorted(maps.Keys(l.builds)) {
		if l.builds[drv].state == succeeded && !own[drv] {
			good = append(good, drv)
		}
	}
	return good
}

func (l *Log) next() int64 { l.seq++; return l.seq }
