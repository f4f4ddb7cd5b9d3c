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

// pinnedRelease names the release that a cache has pinned: the pins of the cells' packages.
type pinnedRelease struct {
	cache, url   string
	substituters []string
	cells        []matrix.Cell
}

// reportLastRelease reports the closure sizes of the last release if they are available. It fails only if a named manifest
// cannot be read. If the cache does not answer, it reports a notice.
func reportLastRelease(ctx context.Context, process process, o outputOptions, pinned pinnedRelease, reporter run.Reporter) error {
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
	case process.job().Here() && o.summary && pinned.cache != "":
		ctx, cancel := context.WithTimeout(ctx, sinceTimeout)
		defer cancel()
		var err error
		if last, err = pinned.read(ctx); err != nil && ctx.Err() != context.Canceled {
			reporter.Report(process.clock()(), run.Notice{
				Level: run.Info, Text: fmt.Sprintf("compare with the last release: %s", nix.FirstLine(err.Error())),
			})
		}
	}
	if len(last.Packages) > 0 {
		reporter.Report(process.clock()(), last)
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

// read returns the pinned release, with sizes from the caches. A release pins its outputs in its last step, so this is the
// previous release.
func (p pinnedRelease) read(ctx context.Context) (run.LastRelease, error) {
	last := run.LastRelease{From: "the pins of " + p.cache}
	client, err := cachix.New(p.cache, cachix.Options{URL: p.url, Agent: toolName + "/" + version})
	if err != nil {
		return last, err
	}
	defer client.Close()
	pins, err := client.Pins(ctx)
	if err != nil {
		return last, err
	}
	var roots []nix.StorePath // of the packages, in their order
	for _, cell := range p.cells {
		for _, name := range cell.Packages {
			if path, isPinned := pins[publish.PinName(name, cell.System)]; isPinned {
				roots = append(roots, path)
				last.Packages = append(last.Packages, run.LastPackage{System: cell.System, Package: name, Outputs: 1})
			}
		}
	}
	if len(roots) == 0 {
		return last, nil // there is no release yet
	}
	info, err := client.Info(ctx)
	if err != nil {
		return run.LastRelease{}, err
	}
	caches, err := publish.NewConsumer(info.URI, p.substituters)
	if err != nil {
		return run.LastRelease{}, err
	}
	infos, err := caches.Closure(ctx, roots)
	if err != nil {
		return run.LastRelease{}, err
	}
	for i, root := range roots {
		for _, info := range nix.Closure(infos, root) {
			last.Packages[i].ClosureBytes += info.NARSize
		}
	}
	return last, nil
}
