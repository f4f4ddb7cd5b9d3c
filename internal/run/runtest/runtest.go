// Package runtest records the events of a run for tests.
package runtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Recorder is a [run.Reporter] that keeps all events.
type Recorder struct {
	mu     sync.Mutex
	events []run.Event
}

// Report implements [run.Reporter].
func (r *Recorder) Report(_ time.Time, e run.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Of returns the events of one type, in order.
func Of[T run.Event](r *Recorder) []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []T
	for _, e := range r.events {
		if e, ok := e.(T); ok {
			found = append(found, e)
		}
	}
	return found
}

// Builds returns how each build ended, by the name of its derivation: the kind of its failure, or "good".
// A build that ended twice is an error of the test.
func Builds(t *testing.T, r *Recorder) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, e := range Of[run.BuildFinished](r) {
		name := nix.DerivationName(e.Derivation)
		if _, twice := got[name]; twice {
			t.Errorf("%s finished twice", name)
		}
		got[name] = "good"
		if e.Failure != nil {
			got[name] = string(e.Failure.Kind)
		}
	}
	return got
}

// NixError returns a line of Nix's log in the internal-json format: an error of Nix itself.
func NixError(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	return fmt.Sprintf(`@nix {"action":"msg","level":0,"msg":%q,"raw_msg":%q}`, "error: "+text, text)
}
