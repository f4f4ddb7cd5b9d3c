package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Report is the end of a release whose systems were built by separate runs: it pins the outputs if all systems are
// good and published, and writes the joined manifest.
type Report struct {
	*run.Recorder
	Flake   string
	Cells   []matrix.Cell // those that the release must have
	Publish publish.Publisher
	Results Results
	// Missing says what happened to systems without a manifest.
	Missing map[matrix.System]error
	// Failure is a further error that forbids the release; nil for none.
	Failure error
}

// Run pins and reports the joined manifest, which is nil if no system has one. The error has the worst outcome.
func (r *Report) Run(ctx context.Context, m *run.Manifest) error {
	started := r.Now()
	r.Event(run.RunStarted{ID: "report", Flake: r.Flake, Cells: r.Cells})
	var cells []run.CellResult
	end := run.OutcomeGood
	if m != nil {
		cells, end = m.Cells, m.Outcome
	}
	err := r.checkComplete(cells)
	if end != run.OutcomeGood {
		err = errors.Join(err, &run.OutcomeError{Text: "not every system is good: " + string(end), End: end})
	}
	if r.Failure != nil {
		r.Warn("", "%v", r.Failure)
		err = errors.Join(err, r.Failure)
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
	return errors.Join(err, r.Results.write(ctx, r.Recorder, m, started))
}

// checkComplete returns an error for each system without a result.
func (r *Report) checkComplete(cells []run.CellResult) error {
	var errs []error
	for _, want := range r.Cells {
		if slices.ContainsFunc(cells, func(c run.CellResult) bool { return c.System == want.System }) {
			continue
		}
		why := r.Missing[want.System]
		if why == nil {
			why = errors.New("there is no manifest of it")
		}
		r.Warn(want.System, "%v", why)
		errs = append(errs, fmt.Errorf("%s: %w", want.System, why))
	}
	return errors.Join(errs...)
}
