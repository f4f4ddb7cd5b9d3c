package pipelines

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Preview tells the story as far as its plan, and changes nothing.
func (r *Release) Preview(ctx context.Context) (*run.Manifest, error) {
	started := r.Now()
	r.Event(run.RunStarted{ID: r.ID, Flake: r.Flake, Cells: r.Cells})
	s, err := r.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	results, err := r.eachCell(ctx, func(ctx context.Context, cell matrix.Cell) (run.CellResult, error) {
		result := newCellResult(cell)
		x, engine, err := r.preflight(ctx, cell)
		if err != nil {
			return result, err
		}
		defer x.Close() // nothing was begun that could fail to end
		result.Engine, result.Emulated = &engine, r.emulated(engine, cell)
		evaluation, evaluationErr := r.evaluate(ctx, x, s, cell)
		if len(evaluation) > 0 {
			result.Packages = evaluation.results()
		}
		if evaluation.good() == 0 {
			return result, evaluationErr
		}
		todo := r.unserved(ctx, cell, result.Packages)
		plan, err := r.plan(ctx, x, cell, todo)
		if err != nil {
			return result, errors.Join(err, evaluationErr)
		}
		for _, p := range todo {
			p.Verdict = plan.Verdict(p)
		}
		result.Plan, result.Verdict = &plan, run.Previewed
		plan.Push, err = r.previewPush(ctx, x, engine, s, cell, result.Packages)
		return result, errors.Join(err, evaluationErr)
	})
	return &run.Manifest{
		Version: run.ManifestVersion, Tool: r.Tool, Command: r.Command,
		Started: run.Timestamp(started), Finished: run.Timestamp(r.Now()), Source: s, Cells: results,
	}, err
}

// plan asks Nix what it would build and fetch for the packages.
func (r *Release) plan(ctx context.Context, x engine.Executor, cell matrix.Cell, todo []*run.PackageResult) (run.Plan, error) {
	var plan run.Plan
	err := r.Step(ctx, run.StepPlan, cell.System, func() (string, error) {
		if len(todo) == 0 {
			return "", run.Skipped("a cache serves every output")
		}
		var stderr bytes.Buffer
		args := append([]string{"--realise", "--dry-run"}, derivations(todo)...)
		if _, err := x.Run(ctx, engine.Command{Program: "nix-store", Args: args, Settings: r.Settings, Stderr: &stderr}); err != nil {
			return "", fmt.Errorf("plan build: %w", err)
		}
		d := nix.ParseDryRun(stderr.String())
		plan = run.Plan{Build: notNil(d.Build), Fetch: notNil(d.Fetch), FetchBytes: d.DownloadBytes, UnpackedBytes: d.UnpackedBytes}
		r.Event(run.Planned{System: cell.System, Plan: plan})
		return plan.String(), r.fits(ctx, x, plan)
	})
	return plan, err
}

// fits refuses a plan whose downloads alone would not fit on the store's disk.
func (r *Release) fits(ctx context.Context, x engine.Executor, p run.Plan) error {
	e, err := x.Describe(ctx)
	if err != nil {
		return err
	}
	if e.FreeBytes > 0 && p.UnpackedBytes > e.FreeBytes-leastFree {
		return hint.Wrap(fmt.Errorf("fetch %d paths: they need %d MiB, and %d MiB are free on the store's disk",
			len(p.Fetch), p.UnpackedBytes>>20, e.FreeBytes>>20), "make room: nix-collect-garbage")
	}
	return nil
}

func derivations(packages []*run.PackageResult) []string {
	var drvs []string
	for _, p := range packages {
		drvs = append(drvs, string(p.Derivation))
	}
	return drvs
}

// notNil makes an empty list of what is none in JSON.
func notNil(paths []nix.StorePath) []nix.StorePath {
	if paths == nil {
		return []nix.StorePath{}
	}
	return paths
}
