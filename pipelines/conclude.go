package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Conclude is the end of a release whose systems were built by runs of their own: it pins the outputs, if all of them
// are good and published, and writes the manifest that the runs' own were joined to. Of the run, only ID, Cells (those
// that there should be), Publish, Report, Now and ManifestFile are used.
//
// Missing says of the systems without a cell what became of them, and besides is what else speaks against a release, or
// nil. With one of them, or with a cell that is not good, there is none; the error has the heaviest of their outcomes.
// The manifest is nil where no cell has left one.
func (r *Release) Conclude(ctx context.Context, m *run.Manifest, missing map[matrix.System]error, besides error) error {
	started := r.Now()
	r.Event(run.RunStarted{ID: r.ID, Flake: r.Flake, Cells: r.Cells})
	var cells []run.CellResult
	end := run.OutcomeGood
	if m != nil {
		cells, end = m.Cells, m.Outcome
	}
	err := r.whole(cells, missing)
	if end != run.OutcomeGood {
		err = errors.Join(err, &run.OutcomeError{Text: "not every system is good: " + string(end), End: end})
	}
	if besides != nil {
		r.Event(run.Notice{Level: run.Warning, Text: besides.Error()})
		err = errors.Join(err, besides)
	}
	err = errors.Join(err, r.Publish.PinRelease(ctx, cells, err))
	if err == nil {
		err = r.Publish.CheckPinned(cells)
	}
	if m == nil {
		r.Event(run.RunFinished{Seconds: run.Seconds(r.Now().Sub(started))})
		return err
	}
	m.Outcome = run.OutcomeOfRun(ctx, err)
	return errors.Join(err, r.conclude(ctx, started, m))
}

// whole says of each system that there should be, and is not, what became of it.
func (r *Release) whole(cells []run.CellResult, missing map[matrix.System]error) error {
	var errs []error
	for _, want := range r.Cells {
		if slices.ContainsFunc(cells, func(c run.CellResult) bool { return c.System == want.System }) {
			continue
		}
		why := missing[want.System]
		if why == nil {
			why = errors.New("there is no manifest of it")
		}
		r.Event(run.Notice{System: want.System, Level: run.Warning, Text: why.Error()})
		errs = append(errs, fmt.Errorf("%s: %w", want.System, why))
	}
	return errors.Join(errs...)
}
