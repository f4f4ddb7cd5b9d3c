package run

import (
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// PushPlan is what a push of a cell would send, as far as this is known before the build.
type PushPlan struct {
	Cache string `json:"cache"`
	// Push has the paths to push, largest first; Bytes is the size of their NARs.
	Push  []nix.StorePath `json:"push"`
	Bytes int64           `json:"bytes"`
	// There counts the paths that the cache has, Upstream those that users get from another cache.
	There    int `json:"there"`
	Upstream int `json:"upstream"`
	// Unbuilt counts the outputs that must be built or fetched first. Their closures are not known.
	Unbuilt int `json:"unbuilt,omitempty"`
}

func (p PushPlan) String() string {
	text := fmt.Sprintf("push %s, %.1f MiB of NARs; %d there, %d upstream", Count(len(p.Push), "path"), float64(p.Bytes)/(1<<20), p.There, p.Upstream)
	if p.Unbuilt > 0 {
		text += fmt.Sprintf("; and %s yet to be made", Count(p.Unbuilt, "output"))
	}
	return text
}

// Plan is what Nix will do for a cell.
type Plan struct {
	// Build has the derivations that Nix will build.
	Build []nix.StorePath `json:"build"`
	// Fetch has the store paths that Nix will download.
	Fetch []nix.StorePath `json:"fetch"`
	// FetchBytes is the size of the downloads, UnpackedBytes their size on disk.
	FetchBytes    int64 `json:"fetchBytes"`
	UnpackedBytes int64 `json:"unpackedBytes"`
	// Push is what the run would publish; nil if it would publish nothing.
	Push *PushPlan `json:"push,omitempty"`
}

// Nothing reports whether there is nothing to do.
func (p Plan) Nothing() bool { return len(p.Build)+len(p.Fetch) == 0 }

func (p Plan) String() string {
	if p.Nothing() {
		return "nothing to build or fetch"
	}
	text := fmt.Sprintf("build %d", len(p.Build))
	if len(p.Fetch) > 0 {
		text += fmt.Sprintf(", fetch %d (%.1f MiB)", len(p.Fetch), float64(p.FetchBytes)/(1<<20))
	}
	return text
}

// Verdict returns the verdict that the plan gives a package.
func (p Plan) Verdict(pkg *PackageResult) Verdict {
	for _, drv := range p.Build {
		if drv == pkg.Derivation {
			return ToBuild
		}
	}
	for _, path := range p.Fetch {
		for _, o := range pkg.Outputs {
			if o.Path == path {
				return ToFetch
			}
		}
	}
	return Present
}

// Work is what Nix did for a cell, dependencies included.
type Work struct {
	// Built counts the derivations that were built.
	Built int `json:"built"`
	// Fetched counts the store paths that came from a cache, and FetchedBytes is the size of their downloads.
	Fetched      int   `json:"fetched"`
	FetchedBytes int64 `json:"fetchedBytes,omitempty"`

	Derivations map[nix.StorePath]bool `json:"-"` // those that were built
	Outputs     []nix.StorePath        `json:"-"` // their outputs, as far as known, except those that are fixed by a hash
	By          map[string]int         `json:"-"` // how many each remote builder built, by its URI; "" is the engine's machine
}

// HasBuilt reports whether the run built a derivation.
func (w *Work) HasBuilt(drv nix.StorePath) bool { return w != nil && drv != "" && w.Derivations[drv] }
