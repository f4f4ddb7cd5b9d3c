package pipelines

import (
	"bytes"
	"context"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// makePlan asks Nix what it would build and fetch for the packages to do.
func (c *cell) makePlan(ctx context.Context) error {
	return c.Step(ctx, run.StepPlan, c.System, func() (string, error) {
		if len(c.todo) == 0 {
			return "", run.Skipped("a cache serves every output")
		}
		var stderr bytes.Buffer
		args := append([]string{"--realise", "--dry-run"}, words(derivationsOf(c.todo))...)
		if _, err := c.exec.Run(ctx, engine.Command{Program: "nix-store", Args: args, Settings: c.Settings, Stderr: &stderr}); err != nil {
			return "", fmt.Errorf("plan build: %w", err)
		}
		d := nix.ParseDryRun(stderr.String())
		c.plan = run.Plan{Build: notNil(d.Build), Fetch: notNil(d.Fetch), FetchBytes: d.DownloadBytes, UnpackedBytes: d.UnpackedBytes}
		c.Event(run.Planned{System: c.System, Plan: c.plan})
		return c.plan.String(), c.fits(ctx)
	})
}

// fits refuses a plan whose downloads do not fit on the store's disk.
func (c *cell) fits(ctx context.Context) error {
	e, err := c.exec.Describe(ctx)
	if err != nil {
		return err
	}
	if e.FreeBytes > 0 && c.plan.UnpackedBytes > e.FreeBytes-minFree {
		return hint.Wrap(fmt.Errorf("fetch %d paths: they need %d MiB, and %d MiB are free on the store's disk",
			len(c.plan.Fetch), c.plan.UnpackedBytes>>20, e.FreeBytes>>20), "make room: nix-collect-garbage")
	}
	return nil
}

// notNil makes an empty list of nil, for JSON.
func notNil(paths []nix.StorePath) []nix.StorePath {
	if paths == nil {
		return []nix.StorePath{}
	}
	return paths
}
