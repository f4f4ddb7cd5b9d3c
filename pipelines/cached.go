package pipelines

import (
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// ServingCache is a cache whose outputs are not built again.
type ServingCache interface {
	Cache
	run.NARHasher
}

// isCached reports whether caches have all outputs of a cell that an earlier run has recorded. Then no engine is started.
func (r *Release) isCached(ctx context.Context, c *cell) bool {
	packages, ok := r.recordedResults(c)
	if !ok || r.mustRebuildCached(packages) || len(r.knownToDiffer(packages)) > 0 {
		return false
	}
	built := c.result.Packages
	c.result.Packages = packages
	if todo := c.markCached(ctx, r.Served); len(todo) > 0 || !r.cacheStillMatches(ctx, packages) {
		c.result.Packages = built
		return false
	}
	c.result.Verdict = run.Served
	_ = r.Step(ctx, run.StepPlan, c.System, func() (string, error) {
		return "", run.Skipped(fmt.Sprintf("every output is served by %s", packages[0].ServedBy))
	})
	if r.Contract.Contract != nil {
		_ = r.Step(ctx, run.StepContract, c.System, func() (string, error) {
			// The key of recorded results has the contract.
			return "", run.Skipped("it was kept when these outputs were built")
		})
	}
	return true
}

// markCached marks the packages that a cache has completely, and returns the others. A package that does not evaluate has
// no outputs, and is neither.
func (c *cell) markCached(ctx context.Context, caches []ServingCache) []*run.PackageResult {
	var todo []*run.PackageResult
	for _, p := range c.packages() {
		if p.Derivation == "" {
			continue
		}
		if p.ServedBy = c.cacheOf(ctx, caches, p); p.ServedBy != "" {
			p.Verdict, p.Seconds, p.Log, p.Failure = run.Served, 0, "", nil
		} else {
			p.Verdict = run.Failed // until it is built
			todo = append(todo, p)
		}
	}
	return todo
}

// cacheOf returns the name of a cache that has all outputs of a package; empty for none.
func (c *cell) cacheOf(ctx context.Context, caches []ServingCache, p *run.PackageResult) string {
	for _, cache := range caches {
		missing, err := cache.Missing(ctx, p.OutputPaths())
		if err != nil {
			c.Warn(c.System, "ask cache %s: %v", cache.Name(), err)
		} else if len(missing) == 0 {
			return cache.Name()
		}
	}
	return ""
}

// cacheStillMatches reports whether the caches have the contents that an earlier run has rebuilt with the same result. A
// cache that does not answer does not match.
func (r *Release) cacheStillMatches(ctx context.Context, packages []run.PackageResult) bool {
	for _, p := range packages {
		if p.Reproducible() != run.Good {
			continue
		}
		theirs, err := r.cacheNamed(p.ServedBy).Infos(ctx, p.OutputPaths())
		if err != nil || slices.ContainsFunc(p.Outputs, func(o run.Output) bool {
			there, ok := theirs[o.Path]
			return !ok || there.NARHash.SRI() != o.NARHash
		}) {
			return false
		}
	}
	return true
}

// cacheNamed returns the cache that has a package.
func (r *Release) cacheNamed(name string) run.NARHasher {
	for _, cache := range r.Served {
		if cache.Name() == name {
			return cache
		}
	}
	return nil
}
