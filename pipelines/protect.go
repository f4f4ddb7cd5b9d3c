package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// evaluateProtected evaluates the packages of a cell, and protects what they are built from and what is built of it.
func (r *Release) evaluateProtected(ctx context.Context, x engine.Executor, s run.Snapshot, cell matrix.Cell) (evaluation Evaluation, err error) {
	err = r.protect(ctx, x, cell.System, func() ([]nix.StorePath, []nix.StorePath, error) {
		var derivations, outputs []nix.StorePath
		if evaluation, err = r.askEvaluation(ctx, x, s, cell); err != nil {
			return nil, nil, err
		}
		for _, p := range evaluation {
			if p.Derivation != "" {
				derivations = append(derivations, p.Derivation)
			}
			for _, o := range p.Outputs {
				// The path of a content-addressed output is not known before it is built.
				if _, err := nix.ParseStorePath(string(o.Path)); err == nil {
					outputs = append(outputs, o.Path)
				}
			}
		}
		return derivations, outputs, nil
	})
	return evaluation, err
}

// protect keeps from garbage collectors what add puts into the executor's store: derivations, with their outputs. It also
// keeps the outputs of all derivations below them, since each of several commands needs some of those.
//
// Nix protects what a process has added until that process ends, and a collector may come before Keep does. So the
// derivations are read after Keep, and added again where they have gone: this time they stay.
func (r *Release) protect(ctx context.Context, x engine.Executor, system matrix.System, add func() (derivations, outputs []nix.StorePath, err error)) error {
	derivations, outputs, err := add()
	if err != nil || len(derivations) == 0 {
		return err
	}
	if !r.keep(ctx, x, system, append(derivations, outputs...)) {
		return ctx.Err()
	}
	below, err := r.outputsBelow(ctx, x, derivations)
	if exit := (*engine.ExitError)(nil); errors.As(err, &exit) {
		if _, _, err := add(); err != nil {
			return err
		}
		below, err = r.outputsBelow(ctx, x, derivations)
	}
	if err != nil {
		return fmt.Errorf("read derivations: %w", err)
	}
	r.keep(ctx, x, system, below)
	return ctx.Err()
}

// keep returns false, and says so, where the executor cannot protect the paths: most machines collect no garbage while
// they build, so that this alone ends no run.
func (r *Release) keep(ctx context.Context, x engine.Executor, system matrix.System, paths []nix.StorePath) bool {
	err := x.Keep(ctx, paths)
	if err != nil && ctx.Err() == nil {
		r.Warn(system, "a garbage collector may take what this run needs: %v", err)
	}
	return err == nil
}

// outputsScript prints the outputs of derivations and of all below them. It fails where a derivation is not there. That
// outputs of some derivations are known only when they are built (content-addressed ones) is no failure.
const outputsScript = `paths=$(nix-store --query --requisites "$@") || exit
nix-store --query --outputs $(printf '%s\n' "$paths" | grep '[.]drv$') || :`

func (r *Release) outputsBelow(ctx context.Context, x engine.Executor, derivations []nix.StorePath) ([]nix.StorePath, error) {
	out, err := x.Run(ctx, engine.Command{
		Program: "sh", Args: append([]string{"-c", outputsScript, "outputs"}, words(derivations)...), Settings: r.Settings,
	})
	if err != nil {
		return nil, err
	}
	return nix.ParseStorePaths(string(out))
}

// buildProtected runs a command of nix-build, protects what it has built, and reads it. Where a collector has come before
// Keep, it is built once more.
func (r *Release) buildProtected(ctx context.Context, x engine.Executor, system matrix.System, build engine.Command, read func(nix.StorePath) error) error {
	for last := false; ; last = true {
		out, err := x.Run(ctx, build)
		if err != nil {
			return err
		}
		path, err := nix.ParseStorePath(strings.TrimSpace(string(out)))
		if err != nil {
			return err
		}
		r.keep(ctx, x, system, []nix.StorePath{path})
		err = read(path)
		if exit := (*engine.ExitError)(nil); last || !errors.As(err, &exit) {
			return err
		}
	}
}
