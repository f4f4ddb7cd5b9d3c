package pipelines

import (
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// served answers for a cell whose outputs are known from before and served by a cache, all of them. No engine is started.
func (r *Release) served(ctx context.Context, s run.Snapshot, cell matrix.Cell) ([]run.PackageResult, bool) {
	packages, ok := r.recordedCell(s, cell)
	if !ok || r.wantsProof(packages) || len(r.knownToDiffer(packages)) > 0 {
		return nil, false
	}
	if todo := r.unserved(ctx, cell, packages); len(todo) > 0 || !r.servesWhatWasProven(ctx, packages) {
		return nil, false
	}
	_ = r.Step(ctx, run.StepPlan, cell.System, func() (string, error) {
		return "", run.Skipped(fmt.Sprintf("every output is served by %s", packages[0].ServedBy))
	})
	if r.Contract.Contract != nil {
		_ = r.Step(ctx, run.StepContract, cell.System, func() (string, error) {
			// Nothing else is recorded, nor under another contract: see cellKey.
			return "", run.Skipped("it was kept when these outputs were built")
		})
	}
	return packages, true
}

// ServingCache is a cache whose outputs need not be built again. It tells what it serves under a path.
type ServingCache interface {
	Cache
	run.NARHasher
}

// unserved marks the packages that a cache serves whole, and returns pointers to the others. One that does not evaluate,
// so that it has no outputs to ask for, is neither.
func (r *Release) unserved(ctx context.Context, cell matrix.Cell, packages []run.PackageResult) []*run.PackageResult {
	var todo []*run.PackageResult
	for i := range packages {
		p := &packages[i]
		if p.Derivation == "" {
			continue
		}
		if cache := r.servedBy(ctx, cell, p); cache != "" {
			p.Verdict, p.ServedBy = run.Served, cache
			p.Seconds, p.Log, p.Failure = 0, "", nil
		} else {
			p.Verdict, p.ServedBy = run.Failed, "" // until it is built
			todo = append(todo, p)
		}
	}
	return todo
}

func (r *Release) servedBy(ctx context.Context, cell matrix.Cell, p *run.PackageResult) string {
	for _, cache := range r.Served {
		missing, err := cache.Missing(ctx, p.OutputPaths())
		if err != nil {
			r.Warn(cell.System, "ask cache %s: %v", cache.Name(), err)
			continue
		}
		if len(missing) == 0 {
			return cache.Name()
		}
	}
	return ""
}

// isGood says whether a cell may be recorded. What is only warned of is to be warned of again, and what is not to be
// published is not to be taken for good.
func (r *Release) isGood(result run.CellResult) bool {
	_, broken := contract.Counts(result.Contract)
	differs := slices.ContainsFunc(result.Packages, func(p run.PackageResult) bool { return p.Reproducible() == run.Bad })
	return !broken && !differs && (result.Sandbox == nil || *result.Sandbox)
}
