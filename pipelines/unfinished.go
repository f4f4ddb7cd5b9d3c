package pipelines

import (
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// unfinished compares the results of a run without errors with everything that it had to do, and returns an error about
// the first difference: a step that ended early without an error must not end the run as good. A step that must not be
// done, such as the push of a dirty tree, counts as finished.
func (r *Release) unfinished(cells []*cell, results []run.CellResult) error {
	for _, want := range r.Cells {
		if slices.ContainsFunc(cells, func(c *cell) bool { return c.System == want.System && c.absent }) {
			continue
		}
		i := slices.IndexFunc(results, func(c run.CellResult) bool { return c.System == want.System })
		if i < 0 {
			return fmt.Errorf("%s: it has no result", want.System)
		}
		if missing := r.missingIn(want, results[i]); missing != "" {
			return fmt.Errorf("%s: no step has failed, but %s", want.System, missing)
		}
	}
	return r.Publish.CheckPinned(results)
}

// missingIn names the first thing that was not done for a cell.
func (r *Release) missingIn(want matrix.Cell, cell run.CellResult) string {
	if len(cell.Packages) == 0 {
		return "no package was built"
	}
	for _, p := range cell.Packages {
		if !slices.Contains([]run.Verdict{run.Built, run.Substituted, run.Present, run.Served}, p.Verdict) {
			return fmt.Sprintf("%s was not built", p.Package)
		}
	}
	for _, name := range want.Packages {
		if !slices.ContainsFunc(cell.Packages, func(p run.PackageResult) bool { return p.Package == name }) {
			return fmt.Sprintf("%s was not built", name)
		}
	}
	switch cell.Verdict {
	case run.Served:
	case run.Built:
		if missing := r.missingInBuilt(cell); missing != "" {
			return missing
		}
	default:
		return "it did not come to its end"
	}
	if r.Store == nil || r.Publish.To == nil {
		return ""
	}
	switch {
	case cell.Publish == nil:
		return "it was not pushed"
	case cell.Publish.Verdict == run.Unpublished, cell.Publish.Verdict == run.Unconfirmed:
		return fmt.Sprintf("it is %s", cell.Publish.Verdict)
	}
	return ""
}

// missingInBuilt is for a cell with an engine.
func (r *Release) missingInBuilt(cell run.CellResult) string {
	if !cell.Checked {
		return "its contract was not checked"
	}
	if r.Rebuild.Without == "" && !r.Rebuild.WarnOnly && r.noSecondBuild(&cell) == "" {
		for _, p := range r.rebuildable(cell.Packages, nil) {
			if p.Reproducible() == run.Unknown && p.Difference == nil {
				return fmt.Sprintf("%s was not built a second time", p.Package)
			}
		}
	}
	if r.Store != nil && !cell.Exported {
		return "it was not exported"
	}
	return ""
}
