package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// decideByStore queries the store for the results of the builds that Nix's log leaves undecided.
func (c *cell) decideByStore(ctx context.Context, log *buildlog.Log) {
	unknown := log.Undecided()
	if len(unknown) == 0 {
		return
	}
	built := map[nix.StorePath]bool{}
	known := c.derivations(ctx, unknown)
	var outputs []nix.StorePath
	for _, drv := range unknown {
		outputs = append(outputs, known[drv].Outputs...)
	}
	if len(outputs) > 0 && ctx.Err() == nil {
		invalid, err := c.invalid(ctx, outputs)
		for _, drv := range unknown {
			paths := known[drv].Outputs
			built[drv] = err == nil && len(paths) > 0 && !slices.ContainsFunc(paths, func(p nix.StorePath) bool { return invalid[p] })
		}
	}
	log.DecideByStore(built)
}

// failedDependencies returns the failed derivations that a package depends on.
func (c *cell) failedDependencies(ctx context.Context, log *buildlog.Log, p *run.PackageResult) ([]nix.StorePath, error) {
	failed := log.RootFailures()
	if len(failed) == 0 {
		return nil, nil
	}
	requisites, err := c.query(ctx, []nix.StorePath{p.Derivation}, "--query", "--requisites")
	if err != nil {
		return nil, fmt.Errorf("look up dependencies of %s: %w", p.Package, err)
	}
	return slices.DeleteFunc(failed, func(drv nix.StorePath) bool { return drv == p.Derivation || !slices.Contains(requisites, drv) }), nil
}

// explainFailures sets the failure of each package that lacks outputs: its own, that of a dependency, or the error at
// which Nix stopped.
func (c *cell) explainFailures(ctx context.Context, log *buildlog.Log, invalid map[nix.StorePath]bool) {
	incomplete, _ := byValidity(c.todo, invalid)
	for _, p := range incomplete {
		if p.Failure != nil {
			continue
		}
		if p.Failure = log.Failure(p.Derivation); p.Failure != nil && p.Failure.Kind != run.DependencyFailed {
			continue
		}
		if failed, err := c.failedDependencies(ctx, log, p); err == nil && len(failed) > 0 {
			p.Failure = log.DependencyFailure(failed)
		}
		if p.Failure == nil {
			p.Failure = log.UnfinishedFailure()
		}
	}
}

// keepSuccessful adds to the closure what this run has built before the failure: compiled dependencies cost the most.
// Its own failures are warnings, because the build error matters more.
func (c *cell) keepSuccessful(ctx context.Context, built []nix.StorePath) {
	if len(built) == 0 || ctx.Err() != nil {
		return
	}
	kept, err := c.builtClosure(ctx, built)
	if err != nil {
		c.Warn(c.System, "keep what was built before the failure: %v", err)
		return
	}
	c.closure = union(c.closure, kept)
}

// builtClosure returns the runtime closure of the outputs of derivations that the store has.
func (c *cell) builtClosure(ctx context.Context, derivations []nix.StorePath) ([]nix.PathInfo, error) {
	outputs, err := c.query(ctx, derivations, "--query", "--outputs")
	if err != nil || len(outputs) == 0 {
		return nil, err
	}
	invalid, err := c.invalid(ctx, outputs)
	if err != nil {
		return nil, err
	}
	valid := slices.DeleteFunc(nix.SortedPaths(outputs), func(p nix.StorePath) bool { return invalid[p] })
	if len(valid) == 0 {
		return nil, errors.New("none of the outputs is in the store")
	}
	return c.pathInfo(ctx, valid, "--recursive")
}
