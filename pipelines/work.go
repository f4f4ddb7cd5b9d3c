package pipelines

// Work is what Nix has done for a cell, for the dependencies of its packages too.
type Work struct {
	// Built counts the derivations that were built well.
	Built int `json:"built"`
	// Fetched counts the store paths that came from a cache instead, and FetchedBytes what was downloaded for them.
	Fetched      int   `json:"fetched"`
	FetchedBytes int64 `json:"fetchedBytes,omitempty"`
}

// add is for a realisation that was tried once more.
func (w *Work) add(more Work) {
	w.Built += more.Built
	w.Fetched += more.Fetched
	w.FetchedBytes += more.FetchedBytes
}

// work sums up a realisation that has ended.
func (l *buildLog) work() Work {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := Work{Fetched: len(l.fetched)}
	for drv := range l.ended {
		if l.failures[drv] == nil {
			w.Built++
		}
	}
	for _, n := range l.bytes {
		w.FetchedBytes += n
	}
	return w
}
