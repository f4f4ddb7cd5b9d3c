package report

import (
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// record is what a run's events come to, beside its manifest. It is what a summary at its end is made of.
type record struct {
	started  pipelines.RunStarted
	finished pipelines.RunFinished
	ended    bool                     // finished has come
	failed   []pipelines.StepFinished // those with an error
	warnings []pipelines.Notice
	pinning  *pipelines.StepFinished // nil where it was not come to
	last     pipelines.LastRelease
	tails    map[tailOf][]string
}

type tailOf struct {
	system     matrix.System
	derivation nix.StorePath
}

// apply takes an event into account.
func (r *record) apply(e pipelines.Event) {
	switch e := e.(type) {
	case pipelines.RunStarted:
		if r.ended {
			*r = record{last: r.last} // of a command that runs more than once, such as check --fix
		}
		r.started = e
	case pipelines.StepFinished:
		if e.Error != "" {
			r.failed = append(r.failed, e)
		}
		if e.Step == pipelines.StepPin {
			r.pinning = &e
		}
	case pipelines.Notice:
		if e.Level == pipelines.Warning {
			r.warnings = append(r.warnings, e)
		}
	case pipelines.BuildFinished:
		if e.Failure != nil {
			r.tail(e.System, e.Derivation, e.Tail)
		}
	case pipelines.LogTail:
		r.tail(e.System, e.Derivation, e.Tail)
	case pipelines.LastRelease:
		r.last = e
	case pipelines.RunFinished:
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
func (r *record) cells() []pipelines.CellResult {
	var all []pipelines.CellResult
	if r.finished.Manifest != nil {
		all = slices.Clone(r.finished.Manifest.Cells)
	}
	for _, c := range r.started.Cells {
		if !slices.ContainsFunc(all, func(have pipelines.CellResult) bool { return have.System == c.System }) {
			all = append(all, pipelines.CellResult{System: c.System})
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
