package pipelines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Results are the files that a run leaves beside its outputs.
type Results struct {
	Manifest   regular.File
	Statements *Statements // nil for a run without
	Job        string      // the URL of the CI job of the run; empty for none
}

func (j *Job) newManifest(started time.Time, s run.Snapshot) *run.Manifest {
	settings := nix.Settings{}
	for name, value := range j.Settings {
		settings[name] = nix.Redact(value) // URLs of substituters can have credentials
	}
	return &run.Manifest{
		Version: run.ManifestVersion, Tool: j.Tool, Command: j.Command, Logs: j.Logs.Name(),
		Started: run.Timestamp(started), Source: s, Inputs: j.lockedInputs(s), Settings: settings,
	}
}

// finish does the steps after the cells. The outcome is that of all steps: if a step fails after the manifest was written,
// finish writes the manifest again.
func (r *Release) finish(ctx context.Context, m *run.Manifest, started time.Time, err error) error {
	m.Finished = run.Timestamp(r.Now())
	for i := range m.Cells {
		m.Cells[i].Job = r.Results.Job
	}
	m.MarkUnknown()
	statements := r.Results.Statements
	if ctx.Err() != nil && err != nil {
		statements = nil // an interrupted run has none
	}
	var bills []string
	if statements != nil {
		var billErr error
		bills, billErr = r.writeBills(ctx, m)
		err = errors.Join(err, billErr)
	}
	writeErr := r.Results.write(ctx, r.Recorder, m, err)
	if statements != nil && writeErr == nil {
		if statementErr := r.writeProvenance(ctx, m, bills); statementErr != nil {
			err = errors.Join(err, statementErr)
			m.Outcome = run.OutcomeOfRun(ctx, err)
			writeErr = r.Results.writeFile(m)
		}
	}
	err = errors.Join(err, writeErr)
	r.Event(run.RunFinished{Seconds: run.Seconds(r.Now().Sub(started)), Manifest: m, Path: r.Results.Manifest.Path()})
	return err
}

// write sets the outcome of a run that ended with err, and writes the manifest, also that of an interrupted run.
func (f Results) write(ctx context.Context, r *run.Recorder, m *run.Manifest, err error) error {
	m.Outcome = run.OutcomeOfRun(ctx, err)
	err = r.Step(context.WithoutCancel(ctx), run.StepManifest, "", func() (string, error) {
		return f.Manifest.Path(), f.writeFile(m)
	})
	if err != nil {
		m.Outcome = run.OutcomeFailed
	}
	return err
}

func (f Results) writeFile(m *run.Manifest) error {
	data, err := printable.JSON(m, "  ")
	if err == nil {
		err = f.Manifest.Write(data)
	}
	if err != nil {
		return fmt.Errorf("write manifest %s: %v", f.Manifest.Path(), err)
	}
	return nil
}
