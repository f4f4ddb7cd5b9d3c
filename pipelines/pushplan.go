package pipelines

import (
	"context"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// PushPlan is what a push of a cell would send, as far as that is known before it is built.
type PushPlan struct {
	Cache string `json:"cache"`
	// Push is what would go up, largest first; Bytes is the size of their NARs.
	Push  []nix.StorePath `json:"push"`
	Bytes int64           `json:"bytes"`
	// There counts the paths that the cache has, Upstream those that consumers get from another cache.
	There    int `json:"there"`
	Upstream int `json:"upstream"`
	// Unbuilt counts the outputs that are to be built or fetched first; what their closures have is not known.
	Unbuilt int `json:"unbuilt,omitempty"`
}

func (p PushPlan) String() string {
	text := fmt.Sprintf("push %s, %.1f MiB of NARs; %d there, %d upstream", count(len(p.Push), "path"), float64(p.Bytes)/(1<<20), p.There, p.Upstream)
	if p.Unbuilt > 0 {
		text += fmt.Sprintf("; and %s yet to be made", count(p.Unbuilt, "output"))
	}
	return text
}

// previewPush asks the cache what it lacks of all that is there already, in the engine or in the store that a run
// exports into. It is nil where nothing would be pushed.
func (r *Release) previewPush(ctx context.Context, x Executor, e Engine, s Snapshot, cell matrix.Cell, packages []PackageResult) (*PushPlan, error) {
	if r.Publish.To == nil && r.Publish.Without == "" {
		return nil, nil
	}
	var plan *PushPlan
	err := r.step(ctx, StepPush, cell.System, func() (string, error) {
		if r.Publish.To == nil {
			return "", skipped(r.Publish.Without)
		}
		if reason := r.withheld(s); reason != "" {
			return "", skipped(reason)
		}
		infos, unbuilt, err := r.known(ctx, x, e, packages)
		if err != nil {
			return "", err
		}
		preview, err := r.Publish.To.Preview(ctx, infos)
		if err != nil {
			return "", &PublishError{System: cell.System, Cache: r.Publish.To.Name(), Err: err}
		}
		preview.Unbuilt, preview.Push = unbuilt, notNil(preview.Push)
		plan = &preview
		return plan.String(), nil
	})
	return plan, err
}

// known returns the closures of the outputs that are there, and counts the others.
func (r *Release) known(ctx context.Context, x Executor, e Engine, packages []PackageResult) (infos []nix.PathInfo, unbuilt int, err error) {
	var inStore, inEngine []nix.StorePath
	for _, p := range packages {
		for _, o := range p.Outputs {
			switch {
			case p.Verdict == Present:
				inEngine = append(inEngine, o.Path)
			case p.Verdict == Served && r.Store != nil && p.ServedBy == r.Store.Name():
				inStore = append(inStore, o.Path)
			case p.Verdict != Served: // which the public cache has
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
