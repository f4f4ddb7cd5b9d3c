package pipelines

import (
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Memory keeps what came of a cell of a snapshot, so that a run that has nothing to do needs no evaluation.
// Its content is a hint alone: the caches are always asked.
type Memory interface {
	// Recall returns what Remember was given under the key, and false where it was given nothing.
	Recall(key string) ([]PackageResult, bool)
	Remember(key string, packages []PackageResult) error
}

// served answers for a cell whose outputs are known from before and served by a cache, all of them:
// the fastest run is none. No engine is started.
func (r *Release) served(ctx context.Context, s Snapshot, cell matrix.Cell) ([]PackageResult, bool) {
	packages, ok := r.Memory.Recall(r.memoryKey(s, cell))
	if !ok || r.wantsProof(packages) || len(r.knownToDiffer(packages)) > 0 {
		return nil, false
	}
	if todo := r.unserved(ctx, cell, packages); len(todo) > 0 || !r.servesWhatWasProven(ctx, packages) {
		return nil, false
	}
	_ = r.step(ctx, StepPlan, cell.System, func() (string, error) {
		return "", skipped(fmt.Sprintf("every output is served by %s", packages[0].ServedBy))
	})
	if r.Contract.Contract != nil {
		_ = r.step(ctx, StepContract, cell.System, func() (string, error) {
			// Nothing else is remembered, nor under another contract: see memoryKey.
			return "", skipped("it was kept when these outputs were built")
		})
	}
	return packages, true
}

// ServingCache is a cache whose outputs need not be built again. It tells what it serves under a path.
type ServingCache interface {
	Cache
	Holder
}

// unserved marks the packages that a cache serves whole, and returns pointers to the others. One that does not evaluate,
// so that it has no outputs to ask for, is neither.
func (r *Release) unserved(ctx context.Context, cell matrix.Cell, packages []PackageResult) []*PackageResult {
	var todo []*PackageResult
	for i := range packages {
		p := &packages[i]
		if p.Derivation == "" {
			continue
		}
		if cache := r.servedBy(ctx, cell, p); cache != "" {
			p.Verdict, p.ServedBy = Served, cache
			p.Seconds, p.Log, p.Failure = 0, "", nil
		} else {
			p.Verdict, p.ServedBy = Failed, "" // until it is built
			todo = append(todo, p)
		}
	}
	return todo
}

func (r *Release) servedBy(ctx context.Context, cell matrix.Cell, p *PackageResult) string {
	for _, cache := range r.Served {
		missing, err := cache.Missing(ctx, p.outputPaths())
		if err != nil {
			r.event(Notice{System: cell.System, Level: Warning, Text: fmt.Sprintf("ask cache %s: %v", cache.Name(), err)})
			continue
		}
		if len(missing) == 0 {
			return cache.Name()
		}
	}
	return ""
}

// isGood says whether a cell may be remembered. What is only warned of is to be warned of again, and what is not to be
// published is not to be taken for good.
func (r *Release) isGood(result CellResult) bool {
	_, broken := contract.Counts(result.Contract)
	differs := slices.ContainsFunc(result.Packages, func(p PackageResult) bool { return p.Reproducible() == Bad })
	return !broken && !differs && (result.Sandbox == nil || *result.Sandbox)
}

// remember notes what a later run of the same snapshot need not find out again.
// Overridden inputs are known by reference only, which may stand for another tree tomorrow: nothing is noted.
func (r *Release) remember(s Snapshot, cell matrix.Cell, packages []PackageResult) {
	if len(r.Overrides) > 0 {
		return
	}
	kept := slices.Clone(packages)
	for i := range kept {
		kept[i].Seconds, kept[i].Log, kept[i].ServedBy, kept[i].Builder = 0, "", "", ""
	}
	if err := r.Memory.Remember(r.memoryKey(s, cell), kept); err != nil {
		r.event(Notice{System: cell.System, Level: Warning, Text: err.Error()})
	}
}

// memoryKey is of everything that evaluation depends on. The lock file is part of the tree, and so of its hash.
func (r *Release) memoryKey(s Snapshot, cell matrix.Cell) string {
	packages := fmt.Sprintf("%q", cell.Packages) // a name may have spaces
	return fmt.Sprint(s.NARHash, s.Subdir, s.Rev, s.LastModified, cell.System, packages, s.Overrides, r.Contract.key())
}
