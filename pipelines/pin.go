package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// PinName is the name under which a package of a system is pinned: "hello-x86_64-linux".
func PinName(p matrix.Package, system matrix.System) string { return string(p) + "-" + string(system) }

// pin makes the release: it pins the outputs of all cells. Paths that were pushed are harmless until they are named,
// so that nothing is named unless every cell is published.
func (r *Release) pin(ctx context.Context, cells []run.CellResult, runErr error) error {
	if !r.Publish.Pin || r.Publish.To == nil || runErr != nil && ctx.Err() != nil {
		return nil
	}
	return r.Step(ctx, run.StepPin, "", func() (string, error) {
		if runErr != nil {
			const reason = "not every system is good and published"
			if r.Publish.Journal == nil || !onlyPublishing(runErr) || slices.ContainsFunc(cells, func(c run.CellResult) bool { return !c.Published() && !resumable(c) }) {
				return "", run.Skipped(reason)
			}
			if err := r.Publish.Journal.Pin(pinsOf(cells)); err != nil {
				return "", &PublishError{Cache: r.Publish.To.Name(), Err: err}
			}
			return "", run.Skipped(reason + "; push --resume pins, when they are")
		}
		if !slices.ContainsFunc(cells, run.CellResult.Published) {
			return "", run.Skipped("nothing was published")
		}
		if slices.ContainsFunc(cells, func(c run.CellResult) bool { return !c.Published() }) {
			return "", run.Skipped("not every system is published")
		}
		ctx, stop := WithTimeout(ctx, r.Publish.Timeout, "push-timeout")
		defer stop()
		pins, err := Pin(ctx, r.Publish.To, cells)
		if err != nil {
			return "", &PublishError{Cache: r.Publish.To.Name(), Err: err}
		}
		for name := range pinsOf(cells) {
			if err := notePin(r.Record, pinKey{r.Publish.To.Name(), name}, r.ID); err != nil {
				return "", err
			}
		}
		return run.Count(pins, "pin"), nil
	})
}

// resumable says that a cell is good, and that a journal has what is left of it to publish.
func resumable(c run.CellResult) bool {
	return c.Publish != nil && c.Publish.Verdict == run.Unpublished
}

// pinsOf returns what a release pins.
func pinsOf(cells []run.CellResult) map[string]nix.StorePath {
	pins := map[string]nix.StorePath{}
	for _, cell := range cells {
		for _, p := range cell.Packages {
			if path, ok := firstOutput(p); ok {
				pins[PinName(p.Package, cell.System)] = path
			}
		}
	}
	return pins
}

// Pin pins the first output of each package of cells that are published, or served already, and returns how many.
// The names are noted with the cells.
func Pin(ctx context.Context, to Publisher, cells []run.CellResult) (pins int, err error) {
	var errs []error
	for i := range cells {
		cell := &cells[i]
		if !cell.Published() {
			continue
		}
		for _, p := range cell.Packages {
			path, ok := firstOutput(p)
			if !ok {
				continue
			}
			name := PinName(p.Package, cell.System)
			if err := to.Pin(ctx, name, path); err != nil {
				errs = append(errs, fmt.Errorf("pin %s: %w", name, err))
				continue
			}
			cell.Publish.Pins = append(cell.Publish.Pins, name)
			pins++
		}
	}
	return pins, errors.Join(errs...)
}

// firstOutput is "out" where there is one: what a consumer installs.
func firstOutput(p run.PackageResult) (nix.StorePath, bool) {
	for _, o := range p.Outputs {
		if o.Name == "out" {
			return o.Path, true
		}
	}
	if len(p.Outputs) == 0 {
		return "", false
	}
	return p.Outputs[0].Path, true
}
