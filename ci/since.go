package main

import (
	"context"
	"fmt"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const sinceUsage = "manifest of the last release, to compare closure sizes; or \"none\" (default: on GitHub Actions, what the cache has pinned)"

// sinceTimeout limits the search for the last release, which is optional.
const sinceTimeout = 15 * time.Second

// reportLastRelease reports the closure sizes of the last release, if they can be found. It fails only if a named manifest
// cannot be read. If a cache does not answer, it reports a notice.
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

// lastInManifest returns the release that a manifest describes.
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

// lastInPins returns the release that is pinned now, with sizes from the caches. A release pins its outputs as its last
// step, so that is the previous release. Its manifest is not needed.
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
				if path, pinned := pins[publish.PinName(p, cell.System)]; pinned {
					f(cell.System, p, path)
				}
			}
		}
	}
	each(func(_ matrix.System, _ matrix.Package, path nix.StorePath) { roots = append(roots, path) })
	if len(roots) == 0 {
		return last, nil // this is the first release
	}
	info, err := client.Info(ctx)
	if err != nil {
		return last, err
	}
	caches, err := publish.NewConsumer(info.URI, o.project.Substituters)
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
