package pipelines

import (
	"context"
	"errors"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// salvage returns the closure of the good packages together with that of what else this run has built before something
// failed: the compiled dependencies of a package whose own tests fail are what cost the most, and are good.
// What cannot be salvaged is said and left: the failure of the build is what the run is about by then.
func (r *Release) salvage(ctx context.Context, x engine.Executor, e engine.Engine, cell matrix.Cell, built []nix.StorePath, closure []nix.PathInfo) []nix.PathInfo {
	if len(built) == 0 || ctx.Err() != nil {
		return closure
	}
	saved, err := r.outputsOf(ctx, x, e, built)
	if err != nil {
		r.Warn(cell.System, "keep what was built before the failure: %v", err)
		return closure
	}
	return union(closure, saved)
}

// outputsOf returns the runtime closure of those outputs of derivations that the store has.
func (r *Release) outputsOf(ctx context.Context, x engine.Executor, e engine.Engine, derivations []nix.StorePath) ([]nix.PathInfo, error) {
	outputs, err := r.queryPaths(ctx, x, append([]string{"--query", "--outputs"}, words(derivations)...))
	if err != nil || len(outputs) == 0 {
		return nil, err
	}
	invalid, err := r.queryPaths(ctx, x, append([]string{"--check-validity", "--print-invalid"}, words(outputs)...))
	if err != nil {
		return nil, err
	}
	isInvalid := map[nix.StorePath]bool{}
	for _, p := range invalid {
		isInvalid[p] = true
	}
	var there []nix.StorePath
	for _, p := range nix.SortedPaths(outputs) {
		if !isInvalid[p] {
			there = append(there, p)
		}
	}
	if len(there) == 0 {
		return nil, errors.New("none of the outputs is in the store")
	}
	return r.pathInfos(ctx, x, e, there)
}

// pathInfos returns what Nix knows of the paths and of all that they refer to.
func (r *Release) pathInfos(ctx context.Context, x engine.Executor, e engine.Engine, paths []nix.StorePath) ([]nix.PathInfo, error) {
	out, err := x.Run(ctx, engine.Command{
		Program: "nix", Args: append(append(nix.PathInfoArgs(e.Nix), "--recursive"), words(paths)...), Settings: r.Settings,
	})
	if err != nil {
		return nil, err
	}
	return nix.ParsePathInfo(out)
}

func (r *Release) queryPaths(ctx context.Context, x engine.Executor, args []string) ([]nix.StorePath, error) {
	out, err := x.Run(ctx, engine.Command{Program: "nix-store", Args: args, Settings: r.Settings})
	if err != nil {
		return nil, err
	}
	return nix.ParseStorePaths(string(out))
}

func words(paths []nix.StorePath) []string {
	list := make([]string, len(paths))
	for i, p := range paths {
		list[i] = string(p)
	}
	return list
}
