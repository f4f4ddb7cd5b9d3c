package pipelines

import "github.com/scopecreep-zip/open-sesame-ci/internal/nix"

// Work is what Nix has done for a cell, for the dependencies of its packages too.
type Work struct {
	// Built counts the derivations that were built well.
	Built int `json:"built"`
	// Fetched counts the store paths that came from a cache instead, and FetchedBytes what was downloaded for them.
	Fetched      int   `json:"fetched"`
	FetchedBytes int64 `json:"fetchedBytes,omitempty"`

	derivations map[nix.StorePath]bool // that were built well
	by          map[string]int         // how many of Built each remote builder built, by its URI; under "", the engine's own machine
}

// work sums up realisations that have ended.
func (l *buildLog) work() Work {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := Work{Fetched: len(l.fetched), by: map[string]int{}, derivations: map[nix.StorePath]bool{}}
	for _, b := range l.builds {
		if b.state == succeeded {
			w.Built++
			w.derivations[b.drv] = true
			w.by[b.machine]++
		}
	}
	for _, n := range l.bytes {
		w.FetchedBytes += n
	}
	return w
}

// hasBuilt says whether the run has built a derivation.
func (w *Work) hasBuilt(drv nix.StorePath) bool { return w != nil && drv != "" && w.derivations[drv] }
