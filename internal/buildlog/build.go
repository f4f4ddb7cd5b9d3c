package buildlog

import (
	"cmp"
	"slices"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// build is a derivation that Nix has begun to build.
type build struct {
	drv                nix.StorePath
	machine            string // the remote builder, as Nix names it; empty for a local build
	phase              string
	started, lastHeard time.Time
	stalledAt          time.Time // the value of lastHeard when a stall was last reported
	startSeq, heardSeq int64     // the sequence numbers of its start, and of its last line or phase
	closeSeq           int64     // the sequence number of the end of its last activity; 0 while one is open
	activities         int
	stale              bool         // an earlier process of Nix began it
	claim              *run.Failure // an error about it that a builder may have forged
	state              buildState
	counted            bool  // one of Nix's counts is known to be about it
	oomKillsBefore     int64 // processes that the kernel killed because memory ran out, before it began; -1 if unknown
	log                *logFile
	seconds            float64
}

// buildState is the result of a build, as far as it is certain.
type buildState int

const (
	undecided buildState = iota
	succeeded
	failed
	abandoned // the result stays unknown
)

// succeed ends a build that is certain to be good.
func (l *Log) succeed(b *build, at time.Time) {
	b.state = succeeded
	b.seconds = run.Seconds(at.Sub(b.started))
	l.finish(b, nil)
}

func (l *Log) finish(b *build, f *run.Failure) {
	b.log.close()
	l.Event(run.BuildFinished{
		System: l.System, Derivation: b.drv, Machine: nix.Redact(b.machine), Seconds: b.seconds, Failure: f, Log: b.log.path, Tail: slices.Clone(b.log.tail),
	})
}

// undecidedBuilds returns the builds whose result is not known yet, in the order of their start.
func (l *Log) undecidedBuilds() []*build {
	var list []*build
	for _, b := range l.builds {
		if b.state == undecided {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b *build) int { return cmp.Compare(a.startSeq, b.startSeq) })
	return list
}

func (l *Log) Work() run.Work {
	w := run.Work{Fetched: len(l.fetched), By: map[string]int{}, Derivations: map[nix.StorePath]bool{}}
	for _, b := range l.builds {
		if b.state == succeeded {
			w.Built++
			w.Derivations[b.drv] = true
			w.By[b.machine]++
		}
	}
	for path, drv := range l.byOutput {
		if w.Derivations[drv] && !l.known[drv].Fixed {
			w.Outputs = append(w.Outputs, path)
		}
	}
	for _, n := range l.bytes {
		w.FetchedBytes += n
	}
	return w
}
