package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// PinName is the name under which a package of a system is pinned: "hello-x86_64-linux".
func PinName(p matrix.Package, system matrix.System) string { return string(p) + "-" + string(system) }

// PinRelease pins the outputs of a release. Pushed paths have no effect before something names them, so it pins nothing
// unless every cell is published. If only publishing failed, it lists the pins in the journal.
func (p *Publisher) PinRelease(ctx context.Context, cells []run.CellResult, runErr error) error {
	if !p.Pins || p.To == nil || runErr != nil && ctx.Err() != nil {
		return nil
	}
	return p.Step(ctx, run.StepPin, "", func() (string, error) {
		switch published := slices.ContainsFunc(cells, run.CellResult.Published); {
		case runErr != nil:
			return "", p.pinLater(cells, runErr)
		case !published:
			return "", run.Skipped("nothing was published")
		case slices.ContainsFunc(cells, func(c run.CellResult) bool { return !c.Published() }):
			return "", run.Skipped("not every system is published")
		}
		ctx, stop := run.WithTimeout(ctx, p.Timeout, "push-timeout")
		defer stop()
		pins, err := PinCells(ctx, p.To, cells)
		if err != nil {
			return "", p.Error("", err)
		}
		made := pinsOf(cells)
		for name := range made {
			if err := recordPin(p.Record, pinKey{p.To.Name(), name}, p.ID); err != nil {
				return "", err
			}
		}
		return run.Count(pins, "pin"), p.Journal.Pinned(p.To.Name(), made)
	})
}

// pinLater lists the pins in the journal if the journal lists everything that is left of the release. It returns why
// nothing is pinned now.
func (p *Publisher) pinLater(cells []run.CellResult, runErr error) error {
	const reason = "not every system is good and published"
	isLost := func(c run.CellResult) bool {
		return !c.Published() && (c.Publish == nil || c.Publish.Verdict != run.Unpublished)
	}
	if p.Journal == nil || len(p.Journal.Entries()) == 0 || run.OutcomeOf(runErr) != run.OutcomeUnpublished || slices.ContainsFunc(cells, isLost) {
		return run.Skipped(reason)
	}
	if err := p.Journal.Pin(pinsOf(cells)); err != nil {
		return p.Error("", err)
	}
	return run.Skipped(reason + "; push --resume pins, when they are")
}

// PinResumed pins what a journal lists, after everything that it lists was published.
func (p *Publisher) PinResumed(ctx context.Context, j *Journal) error {
	pins := j.Pins()
	if len(pins) == 0 {
		return nil
	}
	return p.Step(ctx, run.StepPin, "", func() (string, error) {
		ctx, stop := run.WithTimeout(ctx, p.Timeout, "push-timeout")
		defer stop()
		made := 0
		for _, name := range slices.Sorted(maps.Keys(pins)) {
			key := pinKey{p.To.Name(), name}
			later, err := j.pinnedLater(key)
			if err == nil && later != "" {
				p.Warn("", "%s is not pinned: run %s, which is later than %s, has pinned it", name, later, j.run)
				continue
			}
			if err == nil {
				err = p.To.Pin(ctx, name, pins[name])
			}
			if err != nil {
				return "", p.Error("", fmt.Errorf("pin %s: %w", name, err))
			}
			if err := recordPin(j.record, key, j.run); err != nil {
				return "", err
			}
			made++
		}
		return run.Count(made, "pin"), nil
	})
}

// PinCells pins the first output of each package of published cells, sets the names in the cells, and counts the pins.
func PinCells(ctx context.Context, to Cache, cells []run.CellResult) (pins int, err error) {
	var errs []error
	for i := range cells {
		cell := &cells[i]
		if !cell.Published() {
			continue
		}
		cell.Publish.Pins = nil // those of an earlier command
		paths := pinsOf(cells[i : i+1])
		for _, name := range slices.Sorted(maps.Keys(paths)) {
			if err := to.Pin(ctx, name, paths[name]); err != nil {
				errs = append(errs, fmt.Errorf("pin %s: %w", name, err))
				continue
			}
			cell.Publish.Pins = append(cell.Publish.Pins, name)
			pins++
		}
	}
	return pins, errors.Join(errs...)
}

// CheckPinned returns an error if a release is published and has no pins.
func (p *Publisher) CheckPinned(cells []run.CellResult) error {
	if !p.Pins || p.To == nil || slices.ContainsFunc(cells, func(c run.CellResult) bool { return !c.Published() }) {
		return nil
	}
	for _, c := range cells {
		if len(c.Publish.Pins) == 0 {
			return p.Error(c.System, errors.New("the outputs were not pinned"))
		}
	}
	return nil
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

// firstOutput returns "out" if a package has it, because users install that.
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

// pinKey is the key of a pin in the record. The value is the run that has made the pin last.
type pinKey struct{ PinCache, PinName string }

// recordPin records which run has made a pin. The record may be nil.
func recordPin(r *record.Record, key pinKey, run string) error {
	if r == nil {
		return nil
	}
	return r.SetCell(key, run)
}

// pinnedLater returns a run that is later than the journal's and has made the pin; empty if there is none. The IDs of runs
// begin with the time.
func (j *Journal) pinnedLater(key pinKey) (last string, err error) {
	if j.record == nil {
		return "", nil
	}
	if known, err := j.record.Cell(key, &last); !known || last <= j.run {
		return "", err
	}
	return last, nil
}
