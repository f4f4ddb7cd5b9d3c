package pipelines

import (
	"context"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// previewPush asks the cache what it lacks of all that is there already, in the engine or in the store that a run
// exports into. It is nil where nothing would be pushed.
func (r *Release) previewPush(ctx context.Context, x engine.Executor, e engine.Engine, s run.Snapshot, cell matrix.Cell, packages []run.PackageResult) (*run.PushPlan, error) {
	if r.Publish.To == nil && r.Publish.Disabled == "" {
		return nil, nil
	}
	var plan *run.PushPlan
	err := r.Step(ctx, run.StepPush, cell.System, func() (string, error) {
		if r.Publish.To == nil {
			return "", run.Skipped(r.Publish.Disabled)
		}
		if reason := r.withheld(s); reason != "" {
			return "", run.Skipped(reason)
		}
		infos, unbuilt, err := r.known(ctx, x, e, packages)
		if err != nil {
			return "", err
		}
		if plan, err = r.Publish.Preview(ctx, infos, unbuilt); err != nil {
			return "", r.Publish.Error(cell.System, err)
		}
		return plan.String(), nil
	})
	return plan, err
}

// known returns the closures of the outputs that are there, and counts the others.
func (r *Release) known(ctx context.Context, x engine.Executor, e engine.Engine, packages []run.PackageResult) (infos []nix.PathInfo, unbuilt int, err error) {
	var inStore, inEngine []nix.StorePath
	for _, p := range packages {
		for _, o := range p.Outputs {
			switch {
			case p.Verdict == run.Present:
				inEngine = append(inEngine, o.Path)
			case p.Verdict == run.Served && r.Store != nil && p.ServedBy == r.Store.Name():
				inStore = append(inStore, o.Path)
			case p.Verdict != run.Served: // which the public cache has
				unbuilt++
			}
		}
	}
	if len(inStore) > 0 {
		if infos, err = r.Store.Closure(ctx, inStore); err != nil {
			return nil, 0, err
		}
	}
	if len(inEngine) > 0 {
		closure, err := r.pathInfos(ctx, x, e, inEngine)
		if err != nil {
			return nil, 0, err
		}
		infos = union(infos, closure)
	}
	return infos, unbuilt, nil
}
