package pipelines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/sbom"
)

// Results are the files that a run leaves beside its outputs.
type Results struct {
	Manifest   regular.File
	Statements *Statements // nil for a run without
	Job        string      // the URL of the CI job of the run; empty for none
}

// Statements configures the steps after the cells, such as the provenance.
type Statements struct {
	Facts provenance.Facts      // about the machine; the run adds the others
	Key   *provenance.SecretKey // signs the provenance; nil for none
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

// finish does the steps after the cells. The last one writes the manifest with the outcome of all steps. So a run that was
// killed has no manifest.
func (r *Release) finish(ctx context.Context, m *run.Manifest, started time.Time, err error) error {
	m.Finished = run.Timestamp(r.Now())
	for i := range m.Cells {
		m.Cells[i].Job = r.Results.Job
	}
	return r.Results.finish(ctx, ending{Recorder: r.Recorder, store: r.Store}, m, started, err)
}

// ending is what the steps after the cells need of a run.
type ending struct {
	*run.Recorder
	store    sbom.Cache // with the outputs
	received []string   // further files of the results
}

func (f Results) finish(ctx context.Context, e ending, m *run.Manifest, started time.Time, err error) error {
	m.MarkUnknown()
	m.Outcome = run.OutcomeOfRun(ctx, err)
	files := e.received
	for _, step := range []func() error{
		func() error { bills, err := e.writeBills(ctx, f, m); files = append(files, bills...); return err },
		func() error { return e.writeProvenance(ctx, f, m, files) }, // after all others, because it has the hash of the manifest
	} {
		if f.Statements == nil || err != nil && ctx.Err() != nil {
			break // an interrupted run has none
		}
		if stepErr := step(); stepErr != nil {
			err = errors.Join(err, stepErr)
			m.Outcome = run.OutcomeOfRun(ctx, err)
		}
	}
	return errors.Join(err, f.write(ctx, e.Recorder, m, started))
}

// write writes the manifest, also that of an interrupted run, and reports the end of the run.
func (f Results) write(ctx context.Context, r *run.Recorder, m *run.Manifest, started time.Time) error {
	done := run.RunFinished{Manifest: m}
	err := r.Step(context.WithoutCancel(ctx), run.StepManifest, "", func() (string, error) {
		data, err := encode(m)
		if err == nil {
			err = f.Manifest.Write(data)
		}
		if err != nil {
			return "", fmt.Errorf("write manifest %s: %v", f.Manifest.Path(), err)
		}
		done.Path = f.Manifest.Path()
		return done.Path, nil
	})
	if err != nil {
		m.Outcome = run.OutcomeOfRun(ctx, err)
	}
	done.Seconds = run.Seconds(r.Now().Sub(started))
	r.Event(done)
	return err
}

// encode returns the contents of a manifest's file.
func encode(m *run.Manifest) ([]byte, error) { return printable.JSON(m, "  ") }
