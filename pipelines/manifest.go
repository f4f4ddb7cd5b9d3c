package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// manifest is the last step: it writes the manifest.
func (r *Release) manifest(ctx context.Context, started time.Time, s run.Snapshot, checked []contract.Result, cells []run.CellResult, runErr error) (*run.Manifest, error) {
	m := &run.Manifest{
		Version: run.ManifestVersion, Tool: r.Tool, Command: r.Command, Outcome: run.OutcomeOfRun(ctx, runErr),
		Started: run.Timestamp(started), Finished: run.Timestamp(r.Now()), Logs: r.Logs.Name(), Source: s,
		Inputs: r.inputs(s), Settings: redacted(r.Settings), Contract: checked, Cells: cells,
	}
	for i := range m.Cells {
		m.Cells[i].Job = r.Job
	}
	m.Settle()
	return m, r.conclude(ctx, started, m)
}

// conclude writes the manifest into its file, and tells that the run is at its end.
func (r *Release) conclude(ctx context.Context, started time.Time, m *run.Manifest) error {
	// An interrupted run is written down too.
	err := r.Step(context.WithoutCancel(ctx), run.StepManifest, "", func() (string, error) {
		data, err := printable.JSON(m, "  ")
		if err == nil {
			err = r.ManifestFile.Write(data)
		}
		if err != nil {
			return "", fmt.Errorf("write manifest %s: %v", r.ManifestFile.Path(), err)
		}
		return r.ManifestFile.Path(), nil
	})
	r.Event(run.RunFinished{Seconds: run.Seconds(r.Now().Sub(started)), Manifest: m, Path: r.ManifestFile.Path()})
	return err
}

// inputs returns the flake's locked inputs. Where the lock cannot be read, evaluation has failed before.
func (r *Release) inputs(s run.Snapshot) []flake.Input {
	lock, err := flake.ReadLock(flakeDir(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a flake without inputs needs none
	}
	var inputs []flake.Input
	if err == nil {
		inputs, err = lock.Inputs(func(name string) bool { _, ok := s.Overrides[name]; return ok })
	}
	if err != nil {
		r.Warn("", "note inputs in the manifest: %v", err)
	}
	return inputs
}

// redacted takes credentials out of the URLs in settings, such as of substituters.
func redacted(settings nix.Settings) nix.Settings {
	clean := nix.Settings{}
	for name, value := range settings {
		clean[name] = nix.Redact(value)
	}
	return clean
}
