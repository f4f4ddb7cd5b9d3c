package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// view is the state of a run at its end. It collects the run's events, and derives results and counts once, when the run
// has finished. The terminal's summary and GitHub's step summary render it.
type view struct {
	started     run.RunStarted
	finished    run.RunFinished
	failedSteps []run.StepFinished
	warnings    []run.Notice
	pin         *run.StepFinished // nil if the run did not reach it
	last        run.LastRelease
	tails       map[tailKey][]string

	ended    bool         // the fields below are valid
	systems  []systemView // those of the manifest first, then those without a result
	missing  []string     // the systems without a result
	packages tally        // includes those of missing systems
	rebuilt  tally        // outputs; good are those that are proven to be reproducible
	compared int          // the outputs that were built twice
}

// tally counts the good ones of all.
type tally struct{ good, all int }

// result is a verdict with its mark.
type result struct {
	mark mark
	text string
}

// systemView is the result of a system. A missing system has no packages.
type systemView struct {
	run.CellResult
	result   result
	packages []packageView
	publish  *publishView // nil if the run was not to publish anything
	// err is the system's error; empty if the failures of its packages say more.
	err string
}

type packageView struct {
	run.PackageResult
	result result
	change string // of the closure's size since the last release
}

type tailKey struct {
	system     matrix.System
	derivation nix.StorePath
}

func (v *view) apply(e run.Event) {
	switch e := e.(type) {
	case run.RunStarted:
		if v.ended {
			*v = view{last: v.last} // some commands run more than once, such as check --fix
		}
		v.started = e
	case run.StepFinished:
		if e.Error != "" {
			v.failedSteps = append(v.failedSteps, e)
		}
		if e.Step == run.StepPin {
			v.pin = &e
		}
		if e.Step == run.StepEvaluate && e.Skipped != "" { // the flake has no packages for the system
			v.started.Cells = slices.DeleteFunc(slices.Clone(v.started.Cells), func(c matrix.Cell) bool { return c.System == e.System })
		}
	case run.Notice:
		if e.Level == run.Warning {
			v.warnings = append(v.warnings, e)
		}
	case run.BuildFinished:
		if e.Failure != nil {
			v.addTail(tailKey{e.System, e.Derivation}, e.Tail)
		}
	case run.LogTail:
		v.addTail(tailKey{e.System, e.Derivation}, e.Tail)
	case run.LastRelease:
		v.last = e
	case run.RunFinished:
		v.finished, v.ended = e, true
		v.derive()
	}
}

func (v *view) addTail(key tailKey, tail []string) {
	if v.tails == nil {
		v.tails = map[tailKey][]string{}
	}
	v.tails[key] = last(tail, failureTail)
}

func (v *view) derive() {
	v.systems, v.missing, v.packages, v.rebuilt, v.compared = nil, nil, tally{}, tally{}, 0
	var cells []run.CellResult
	if v.finished.Manifest != nil {
		cells = slices.Clone(v.finished.Manifest.Cells)
	}
	for _, planned := range v.started.Cells {
		i := slices.IndexFunc(cells, func(c run.CellResult) bool { return c.System == planned.System })
		if i < 0 {
			i, cells = len(cells), append(cells, run.CellResult{System: planned.System})
		}
		if len(cells[i].Packages) == 0 {
			v.packages.all += len(planned.Packages)
		}
	}
	for _, c := range cells {
		v.systems = append(v.systems, v.system(c))
	}
}

func (v *view) system(c run.CellResult) systemView {
	s := systemView{CellResult: c, result: v.systemResult(c), err: c.Error}
	if len(c.Packages) == 0 {
		v.missing = append(v.missing, string(c.System))
	}
	explained := false
	for _, p := range c.Packages {
		s.packages = append(s.packages, packageView{p, packageResult(p), changeSince(v.last, c.System, p)})
		explained = explained || p.Failure != nil && !isGood(p.Verdict)
		v.packages.all++
		if isGood(p.Verdict) {
			v.packages.good++
		}
		for _, o := range p.Outputs {
			v.rebuilt.all++
			if o.Rebuild == run.Good {
				v.rebuilt.good++
			}
			if o.Rebuild == run.Good || o.Rebuild == run.Bad {
				v.compared++
			}
		}
	}
	if explained && (strings.HasPrefix(c.Error, "build ") || strings.HasPrefix(c.Error, "build:") || strings.HasPrefix(c.Error, "evaluate packages.")) {
		s.err = ""
	}
	if c.Publish != nil {
		s.publish = newPublishView(*c.Publish)
	}
	return s
}

// systemResult returns the verdict of a system, with the reason if no other part of a summary has it.
func (v *view) systemResult(c run.CellResult) result {
	switch {
	case len(c.Packages) == 0:
		return result{failed, cmp.Or(strings.Join(v.warningsOf(c.System), "; "), "missing")}
	case c.Verdict == run.Failed && c.Error == "" && v.finished.Manifest.Outcome == run.OutcomeInterrupted:
		return result{cancelled, "not reached"}
	case c.Verdict == run.Failed && slices.ContainsFunc(c.Packages, interrupted):
		return result{cancelled, "cancelled"}
	case c.Verdict == run.Failed && c.Error == "":
		return result{failed, "not started"}
	}
	return verdictResult(c.Verdict)
}

func packageResult(p run.PackageResult) result {
	if interrupted(p) {
		return result{cancelled, string(p.Failure.Kind)}
	}
	return verdictResult(p.Verdict)
}

// verdictResult returns a verdict with its mark. A package that the run did not reach has no verdict.
func verdictResult(v run.Verdict) result {
	switch {
	case isGood(v):
		return result{passed, string(v)}
	case v == "":
		return result{skipped, "not built"}
	}
	return result{failed, string(v)}
}

// buildMark is good only if there is a package and every package is good.
func (v *view) buildMark() mark {
	switch m := v.finished.Manifest; {
	case v.packages.good == v.packages.all && v.packages.all > 0:
		return passed
	case v.packages.good < v.packages.all && m != nil && m.Outcome == run.OutcomeInterrupted:
		return cancelled
	}
	return failed
}

// duration is how long the run took, or all the runs that its manifest was joined from.
func (v *view) duration() float64 {
	begin, err := time.Parse(time.RFC3339, v.finished.Manifest.Started)
	end, endErr := time.Parse(time.RFC3339, v.finished.Manifest.Finished)
	if err != nil || endErr != nil {
		return v.finished.Seconds
	}
	return max(v.finished.Seconds, end.Sub(begin).Seconds())
}

func (v *view) anyPublish(has func(run.PublishResult) bool) bool {
	return slices.ContainsFunc(v.systems, func(s systemView) bool { return s.Publish != nil && has(*s.Publish) })
}

// warningsOf returns the warnings about a system; an empty system means the run.
func (v *view) warningsOf(system matrix.System) []string {
	var texts []string
	for _, w := range v.warnings {
		if w.System == system {
			texts = append(texts, w.Text)
		}
	}
	return texts
}

func isGood(v run.Verdict) bool {
	return v == run.Built || v == run.Substituted || v == run.Present || v == run.Served
}

func interrupted(p run.PackageResult) bool {
	return p.Failure != nil && p.Failure.Kind == run.Interrupted
}
