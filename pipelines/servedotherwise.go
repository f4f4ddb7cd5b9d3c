package pipelines

import (
	"context"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// servedOtherwise returns the packages that came out the same here, while the cache that serves them has something else.
// Nix compares a second build with what its store has, and a store that had the output before has never asked the cache:
// to be the same as that is no proof of what consumers get. Each cache keeps what it has.
func (b secondBuild) servedOtherwise(ctx context.Context) (failed []run.PackageResult, err error) {
	var served []*run.PackageResult
	for _, p := range b.todo {
		if p.Verdict == run.Served && p.Reproducible() == run.Good {
			served = append(served, p)
		}
	}
	if len(served) == 0 {
		return nil, nil
	}
	infos, err := b.r.pathInfo(ctx, b.x, b.engine, served)
	if err != nil {
		return nil, err
	}
	measure(infos, served)
	for _, p := range served {
		if err := b.holdAgainst(ctx, b.r.cacheNamed(p.ServedBy), p); err != nil {
			return nil, err
		}
		if p.Difference != nil {
			failed = append(failed, *p)
		}
	}
	return failed, nil
}

// holdAgainst marks the outputs of a package that a cache has with other contents than ours, and looks into the first.
func (b secondBuild) holdAgainst(ctx context.Context, cache run.NARHasher, p *run.PackageResult) error {
	theirs, err := cache.Infos(ctx, p.OutputPaths())
	if err != nil {
		return err
	}
	for i := range p.Outputs {
		o := &p.Outputs[i]
		there, ok := theirs[o.Path]
		if !ok || there.NARHash.SRI() == o.NARHash {
			continue
		}
		o.Rebuild = run.Bad
		if p.Difference != nil {
			continue // one output is enough to look into
		}
		d := &run.Difference{Output: o.Path, Reason: fmt.Sprintf(
			"%s serves other contents: %s is %s there, and %s here, twice", cache.Name(), o.Path, there.NARHash.SRI(), o.NARHash)}
		d.Kept, d.Files, d.Page = b.r.CompareKept(ctx, b.r.Rebuild.Evidence, o.Path, run.KeepFrom(b.r.Rebuild.Evidence, cache, o.Path, "theirs"), b.r.keepFrom(b.x, "ours", o.Path))
		p.Difference = d
	}
	return nil
}

// servesWhatWasProven says whether the caches still have the bits of which an earlier run has noted that they came out the
// same. What a cache cannot be asked is not proven.
func (r *Release) servesWhatWasProven(ctx context.Context, packages []run.PackageResult) bool {
	for _, p := range packages {
		if p.Reproducible() != run.Good {
			continue
		}
		theirs, err := r.cacheNamed(p.ServedBy).Infos(ctx, p.OutputPaths())
		if err != nil {
			return false
		}
		for _, o := range p.Outputs {
			if there, ok := theirs[o.Path]; !ok || there.NARHash.SRI() != o.NARHash {
				return false
			}
		}
	}
	return true
}

// cacheNamed returns the cache that serves a package; it is one of those that were asked.
func (r *Release) cacheNamed(name string) run.NARHasher {
	for _, cache := range r.Served {
		if cache.Name() == name {
			return cache
		}
	}
	return nil
}
