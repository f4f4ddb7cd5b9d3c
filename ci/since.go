package main

import (
	"context"
	"fmt"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

const sinceUsage = "manifest of the last release, to compare closure sizes; or \"none\" (default: on GitHub Actions, what the cache has pinned)"

// sinceTimeout is how long a run waits to be told of the last release, which is a comfort.
const sinceTimeout = 15 * time.Second

// reportLastRelease reports how large the closures of the last release were, where that can be found out. It fails only
// where a manifest was named that cannot be read; whatever keeps a cache from answering is a notice.
func reportLastRelease(ctx context.Context, sys process, o options, reporter run.Reporter) error {
	var last run.LastRelease
	switch {
	case o.since == none:
		return nil
	case o.since != "":
		m, err := run.ReadManifest(o.since)
		if err != nil {
			return usage(err)
		}
		last = lastInManifest(o.since, m)
	case github{sys.environ}.here() && o.summary && o.publish.cacheName(o.project) != "":
		ctx, cancel := context.WithTimeout(ctx, sinceTimeout)
		defer cancel()
		var err error
		if last, err = lastInPins(ctx, o); err != nil && ctx.Err() != context.Canceled {
			reporter.Report(sys.clock()(), run.Notice{
				Level: run.Info, Text: fmt.Sprintf("compare with the last release: %s", nix.FirstLine(err.Error())),
			})
		}
	}
	if len(last.Packages) > 0 {
		reporter.Report(sys.clock()(), last)
	}
	return nil
}

// lastInManifest is what a manifest says of its run.
func lastInManifest(file string, m *run.Manifest) run.LastRelease {
	last := run.LastRelease{From: file}
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			last.Packages = append(last.Packages, run.LastPackage{
				System: cell.System, Package: p.Package, ClosureBytes: p.ClosureBytes, Outputs: len(p.Outputs),
				Derivation: p.Derivation, Seconds: p.Seconds,
			})
		}
	}
	return last
}

// lastInPins weighs what is pinned at present. A release pins its outputs as its last act, so that is the release before
// this one, and a consumer's caches say how large it is: nobody has to have kept its manifest.
func lastInPins(ctx context.Context, o options) (run.LastRelease, error) {
	last := run.LastRelease{From: "the pins of " + o.publish.cacheName(o.project)}
	client, err := cachix.New(o.publish.cacheName(o.project), cachix.Options{URL: o.publish.url, Agent: "open-sesame-ci/" + version})
	if err != nil {
		return last, err
	}
	defer client.Close()
	pins, err := client.Pins(ctx)
	if err != nil {
		return last, err
	}
	var roots []nix.StorePath
	each := func(f func(system matrix.System, p matrix.Package, path nix.StorePath)) {
		for _, cell := range o.cells {
			for _, p := range cell.Packages {
				if path, pinned := pins[pipelines.PinName(p, cell.System)]; pinned {
					f(cell.System, p, path)
				}
			}
		}
	}
	each(func(_ matrix.System, _ matrix.Package, path nix.StorePath) { roots = append(roots, path) })
	if len(roots) == 0 {
		return last, nil // it would be the first one
	}
	info, err := client.Info(ctx)
	if err != nil {
		return last, err
	}
	caches, err := consumersCaches(info.URI, o.project.Substituters)
	if err != nil {
		return last, err
	}
	infos, err := caches.Closure(ctx, roots)
	if err != nil {
		return last, err
	}
	each(func(system matrix.System, p matrix.Package, path nix.StorePath) {
		bytes := int64(0)
		for _, info := range nix.Closure(infos, path) {
			bytes += info.NARSize
		}
		last.Packages = append(last.Packages, run.LastPackage{System: system, Package: p, ClosureBytes: bytes, Outputs: 1})
	})
	return last, nil
}
