package pipelines

import (
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// resolve queries the store for the results of the builds that Nix's log leaves undecided.
func (r *Release) resolve(ctx context.Context, x engine.Executor, e engine.Engine, log *buildlog.Log) {
	unknown := log.Undecided()
	if len(unknown) == 0 {
		return
	}
	built := map[nix.StorePath]bool{}
	known := r.derivations(ctx, x, e, unknown)
	var outputs []nix.StorePath
	for _, drv := range unknown {
		outputs = append(outputs, known[drv].Outputs...)
	}
	if len(outputs) > 0 && ctx.Err() == nil {
		invalid, err := r.queryPaths(ctx, x, append([]string{"--check-validity", "--print-invalid"}, words(outputs)...))
		for _, drv := range unknown {
			paths := known[drv].Outputs
			built[drv] = err == nil && len(paths) > 0 && !slices.ContainsFunc(paths, func(p nix.StorePath) bool { return slices.Contains(invalid, p) })
		}
	}
	log.DecideByStore(built)
}

// failedDependencies returns the failed derivations that a package depends on.
func (r *Release) failedDependencies(ctx context.Context, x engine.Executor, log *buildlog.Log, p *run.PackageResult) ([]nix.StorePath, error) {
	failed := log.RootFailures()
	if len(failed) == 0 {
		return nil, nil
	}
	requisites, err := r.queryPaths(ctx, x, []string{"--query", "--requisites", string(p.Derivation)})
	if err != nil {
		return nil, fmt.Errorf("look up dependencies of %s: %w", p.Package, err)
	}
	return slices.DeleteFunc(failed, func(drv nix.StorePath) bool { return drv == p.Derivation || !slices.Contains(requisites, drv) }), nil
}

// explainPackages sets the failure of each package that lacks outputs: its own, that of a dependency, or the error at
// which Nix stopped.
func (r *Release) explainPackages(ctx context.Context, x engine.Executor, log *buildlog.Log, todo []*run.PackageResult, invalid map[nix.StorePath]bool) {
	for _, p := range todo {
		if p.Failure != nil || !slices.ContainsFunc(p.Outputs, func(o run.Output) bool { return invalid[o.Path] }) {
			continue
		}
		if p.Failure = log.Failure(p.Derivation); p.Failure != nil && p.Failure.Kind != run.DependencyFailed {
			continue
		}
		if failed, err := r.failedDependencies(ctx, x, log, p); err == nil && len(failed) > 0 {
			p.Failure = log.DependencyFailure(failed)
		}
		if p.Failure == nil {
			p.Failure = log.UnfinishedFailure()
		}
	}
}
