package pipelines

import (
	"context"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// cacheMismatches returns the packages whose second build was equal here, although the cache has other contents. Nix
// compares a second build with its store, which may never have asked the cache, so an equal result does not prove what
// consumers get. The cache keeps its contents.
func (b secondBuild) cacheMismatches(ctx context.Context) (failed []run.PackageResult, err error) {
	var cached []*run.PackageResult
	for _, p := range b.again {
		if p.Verdict == run.Served && p.Reproducible() == run.Good {
			cached = append(cached, p)
		}
	}
	if len(cached) == 0 {
		return nil, nil
	}
	infos, err := b.runtimeClosure(ctx, cached)
	if err != nil {
		return nil, err
	}
	setSizes(infos, cached)
	for _, p := range cached {
		if err := b.compareWithCache(ctx, b.r.cacheNamed(p.ServedBy), p); err != nil {
			return nil, err
		}
		if p.Difference != nil {
			failed = append(failed, *p)
		}
	}
	return failed, nil
}

// compareWithCache marks the outputs of a package that a cache has with other contents, and compares the first.
func (b secondBuild) compareWithCache(ctx context.Context, cache run.NARHasher, p *run.PackageResult) error {
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
		if p.Difference == nil { // one output is enough to compare
			p.Difference = &run.Difference{Output: o.Path, Reason: fmt.Sprintf(
				"%s serves other contents: %s is %s there, and %s here, twice", cache.Name(), o.Path, there.NARHash.SRI(), o.NARHash)}
			b.compare(ctx, p.Difference, run.KeepFrom(b.r.Rebuild.Evidence, cache, o.Path, "theirs"), b.r.keepFrom(b.cell, "ours", o.Path))
		}
	}
	return nil
}
