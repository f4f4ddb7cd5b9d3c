package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// progress is the present state of a run, derived from its events.
type progress struct {
	// rows has the run's own steps first, then a row for each system.
	rows []*row
	view view
}

// row is the state of a system, or of the whole run if the system is empty.
type row struct {
	system matrix.System
	step   run.Step
	since  time.Time
	// end is nil while the step runs.
	end *run.StepFinished

	plan            run.Plan
	builds          []*build // the running ones, oldest first
	cancelled       []nix.StorePath
	built, failed   int
	failedDownloads map[string]int // by reason
	fetched         run.Fetched
	exported        run.Exported
}

type build struct {
	derivation nix.StorePath
	phase      string
	since      time.Time
}

func (p *progress) apply(at time.Time, e run.Event) {
	p.view.apply(e)
	switch e := e.(type) {
	case run.RunStarted:
		p.row("")
		for _, c := range e.Cells {
			p.row(c.System)
		}
	case run.StepStarted:
		p.row(e.System).begin(at, e.Step)
	case run.StepFinished:
		// A skipped step may end without a start.
		if r := p.row(e.System); r.step == e.Step || !r.active() {
			r.step, r.end, r.builds = e.Step, &e, nil
		}
	case run.Planned:
		p.row(e.System).plan = e.Plan
	case run.BuildStarted:
		r := p.row(e.System)
		r.drop(e.Derivation) // a retried build is there already
		r.builds = append(r.builds, &build{derivation: e.Derivation, since: at})
	case run.BuildPhase:
		if b := p.row(e.System).find(e.Derivation); b != nil {
			b.phase = e.Phase
		}
	case run.BuildFinished:
		r := p.row(e.System)
		r.drop(e.Derivation)
		switch {
		case e.Failure == nil:
			r.built++
		case e.Failure.Kind == run.Interrupted:
			r.cancelled = append(r.cancelled, e.Derivation)
		default:
			r.failed++
			if e.Failure.Kind == run.DownloadFailed {
				r.failedDownloads[e.Failure.Reason]++
			}
		}
	case run.Fetched:
		p.row(e.System).fetched = e
	case run.Exported:
		p.row(e.System).exported = e
	case run.RunFinished:
		p.rows = nil
	}
}

func (p *progress) row(system matrix.System) *row {
	for _, r := range p.rows {
		if r.system == system {
			return r
		}
	}
	r := &row{system: system, failedDownloads: map[string]int{}}
	p.rows = append(p.rows, r)
	return r
}

func (r *row) begin(at time.Time, step run.Step) {
	r.step, r.since, r.end = step, at, nil
	r.builds, r.cancelled, r.built, r.failed, r.failedDownloads = nil, nil, 0, 0, map[string]int{}
	r.fetched, r.exported = run.Fetched{}, run.Exported{}
}

func (r *row) find(drv nix.StorePath) *build {
	for _, b := range r.builds {
		if b.derivation == drv {
			return b
		}
	}
	return nil
}

func (r *row) drop(drv nix.StorePath) {
	r.builds = slices.DeleteFunc(r.builds, func(b *build) bool { return b.derivation == drv })
}

func (r *row) active() bool { return r.step != "" && r.end == nil }

// running names the step that runs; empty for none.
func (r *row) running() run.Step {
	if !r.active() {
		return ""
	}
	return r.step
}

// label is the running step with the progress of its builds: "build 2/3".
func (r *row) label() string {
	if total := len(r.plan.Build); r.step == run.StepBuild && total > 0 {
		return fmt.Sprintf("%s %d/%d", r.step, r.built, total)
	}
	return string(r.step)
}

// activity describes the running step: counts first, then the builds, oldest first.
func (r *row) activity(now time.Time) []string {
	var parts []string
	if r.failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", r.failed))
	}
	if n, of := r.downloads(); n < of || of == 0 && n > 0 {
		parts = append(parts, share(n, of)+" fetched")
	}
	if x := r.exported; x.Of > 0 {
		parts = append(parts, share(x.Bytes, x.Of)+" exported")
	}
	for _, b := range r.builds {
		parts = append(parts, b.describe(now))
	}
	return parts
}

// downloads returns the fetched bytes and the plan's total: Nix reports the size of a download only when it begins.
func (r *row) downloads() (n, of int64) {
	if r.step == run.StepBuild {
		of = r.plan.FetchBytes
	}
	return r.fetched.Bytes, of
}

// describe returns the name, the phase and the age of a build: "openssl-3.4.0 (check 1m02s)".
func (b *build) describe(now time.Time) string {
	age := elapsed(now.Sub(b.since).Seconds())
	if phase := strings.TrimSuffix(b.phase, "Phase"); phase != "" {
		age = phase + " " + age
	}
	return fmt.Sprintf("%s (%s)", nameOf(b.derivation), age)
}
