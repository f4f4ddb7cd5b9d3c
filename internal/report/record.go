package report

import (
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// record is what a run's events come to, beside its manifest. It is what a summary at its end is made of.
type record struct {
	started  run.RunStarted
	finished run.RunFinished
	ended    bool               // finished has come
	failed   []run.StepFinished // those with an error
	warnings []run.Notice
	pinning  *run.StepFinished // nil where it was not come to
	last     run.LastRelease
	tails    map[tailOf][]string
}

type tailOf struct {
	system     matrix.System
	derivation nix.StorePath
}

// apply takes an event into account.
func (r *record) apply(e run.Event) {
	switch e := e.(type) {
	case run.RunStarted:
		if r.ended {
			*r = record{last: r.last} // of a command that runs more than once, such as check --fix
		}
		r.started = e
	case run.StepFinished:
		if e.Error != "" {
			r.failed = append(r.failed, e)
		}
		if e.Step == run.StepPin {
			r.pinning = &e
		}
	case run.Notice:
		if e.Level == run.Warning {
			r.warnings = append(r.warnings, e)
		}
	case run.BuildFinished:
		if e.Failure != nil {
			r.tail(e.System, e.Derivation, e.Tail)
		}
	case run.LogTail:
		r.tail(e.System, e.Derivation, e.Tail)
	case run.LastRelease:
		r.last = e
	case run.RunFinished:
		r.finished, r.ended = e, true
	}
}

func (r *record) tail(system matrix.System, drv nix.StorePath, tail []string) {
	if r.tails == nil {
		r.tails = map[tailOf][]string{}
	}
	r.tails[tailOf{system, drv}] = last(tail, failureTail)
}

// cells are those that the run has results of, and those that it should have, with no packages in them, in the order of
// the run's beginning.
func (r *record) cells() []run.CellResult {
	var all []run.CellResult
	if r.finished.Manifest != nil {
		all = slices.Clone(r.finished.Manifest.Cells)
	}
	for _, c := range r.started.Cells {
		if !slices.ContainsFunc(all, func(have run.CellResult) bool { return have.System == c.System }) {
			all = append(all, run.CellResult{System: c.System})
		}
	}
	return all
}

// warningsOf are those about a system.
func (r *record) warningsOf(system matrix.System) []string {
	var texts []string
	for _, w := range r.warnings {
		if w.System == system {
			texts = append(texts, w.Text)
		}
	}
	return texts
}
