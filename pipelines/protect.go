package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// evaluateProtected evaluates the packages, and protects their derivations and outputs from garbage collectors. It also
// protects the outputs of all derivations below them, because several commands need those.
//
// Nix protects new paths until the process ends that has added them, and a collector can come before Keep. So the
// derivations are read after Keep, and evaluated again if they are gone: this time they stay.
func (c *cell) evaluateProtected(ctx context.Context) ([]evaluated, error) {
	packages, err := c.evaluatePackages(ctx)
	if err != nil {
		return nil, err
	}
	var derivations, paths []nix.StorePath
	for _, p := range packages {
		if p.Derivation == "" {
			continue
		}
		derivations = append(derivations, p.Derivation)
		paths = append(append(paths, p.Derivation), p.OutputPaths()...)
	}
	if len(derivations) == 0 {
		return packages, nil
	}
	if !c.keep(ctx, paths) {
		return packages, ctx.Err()
	}
	below, err := c.outputsBelow(ctx, derivations)
	if exit := (*engine.ExitError)(nil); errors.As(err, &exit) {
		if packages, err = c.evaluatePackages(ctx); err != nil {
			return nil, err
		}
		below, err = c.outputsBelow(ctx, derivations)
	}
	if err != nil {
		return nil, fmt.Errorf("read derivations: %w", err)
	}
	c.keep(ctx, below)
	return packages, ctx.Err()
}

// keep protects paths. If the executor cannot, keep warns and returns false. The run continues, because most machines
// collect no garbage during a build.
func (c *cell) keep(ctx context.Context, paths []nix.StorePath) bool {
	err := c.exec.Keep(ctx, paths)
	if err != nil && ctx.Err() == nil {
		c.Warn(c.System, "a garbage collector may take what this run needs: %v", err)
	}
	return err == nil
}

// outputsScript prints the outputs of derivations and of all derivations below them. It fails if a derivation is missing.
// It does not fail if outputs are known only after the build (of content-addressed derivations).
const outputsScript = `paths=$(nix-store --query --requisites "$@") || exit
nix-store --query --outputs $(printf '%s\n' "$paths" | grep '[.]drv$') || :`

func (c *cell) outputsBelow(ctx context.Context, derivations []nix.StorePath) ([]nix.StorePath, error) {
	out, err := c.exec.Run(ctx, engine.Command{
		Program: "sh", Args: append([]string{"-c", outputsScript, "outputs"}, words(derivations)...), Settings: c.Settings,
	})
	if err != nil {
		return nil, err
	}
	return nix.ParseStorePaths(string(out))
}

// buildProtected runs a command of nix-build, protects its result, and reads it. If a collector has run before Keep, it
// builds once more.
func (c *cell) buildProtected(ctx context.Context, build engine.Command, read func(nix.StorePath) error) error {
	for last := false; ; last = true {
		out, err := c.exec.Run(ctx, build)
		if err != nil {
			return err
		}
		path, err := nix.ParseStorePath(strings.TrimSpace(string(out)))
		if err != nil {
			return err
		}
		c.keep(ctx, []nix.StorePath{path})
		err = read(path)
		if exit := (*engine.ExitError)(nil); last || !errors.As(err, &exit) {
			return err
		}
	}
}
