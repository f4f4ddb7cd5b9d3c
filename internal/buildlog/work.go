package buildlog

import (
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Work counts what the commands built and downloaded.
func (l *Log) Work() run.Work {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := run.Work{Fetched: len(l.fetched), By: map[string]int{}, Derivations: map[nix.StorePath]bool{}}
	for _, b := range l.builds {
		if b.state == succeeded {
			w.Built++
			w.Derivations[b.drv] = true
			w.By[b.machine]++
		}
	}
	for path, drv := range l.byOutput {
		if w.Derivations[drv] && !l.known[drv].Fixed {
			w.Outputs = append(w.Outputs, path)
		}
	}
	for _, n := range l.bytes {
		w.FetchedBytes += n
	}
	return w
}
