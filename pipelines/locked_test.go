package pipelines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// A source that no consumer can lock is built, but never published.
func TestUnlockedSourceIsWithheld(t *testing.T) {
	for name, test := range map[string]struct {
		url, rev string // of the source
		locked   string // the lock's entry for the flake's input; empty for no lock
		want     string // of the reason; empty if it is published
	}{
		"a commit":                 {"github:o/r/abc", "abc", "", ""},
		"a tarball":                {"https://h/x.tar.gz?narHash=sha256-x", "", "", ""},
		"the built-in flake":       {"example", "", "", ""},
		"a directory":              {"path:/src/f", "", "", "of no commit"},
		"a locked input":           {"github:o/r/abc", "abc", `{"type": "github", "narHash": "sha256-x"}`, ""},
		"an input within the tree": {"github:o/r/abc", "abc", `{"type": "path", "path": "./x"}`, ""},
		"an input of this machine": {"github:o/r/abc", "abc", `{"type": "path", "path": "/src/x"}`, "not locked: x"},
		"an invalid lock":          {"github:o/r/abc", "abc", `[`, "are unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			release, cache := newFakeRun(t), &fakeCachix{}
			release.publishTo(cache)
			s := release.Source.(fakeSource).s
			s.URL, s.Rev = test.url, test.rev
			release.Source = fakeSource{s}
			if test.locked != "" {
				text := `{"version": 7, "root": "root", "nodes": {"root": {"inputs": {"x": "x"}}, "x": {"locked": ` + test.locked + `}}}`
				if err := os.WriteFile(filepath.Join(s.Dir, "flake.lock"), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			m, err := release.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if (len(cache.paths) > 0) != (test.want == "") || (len(cache.pins) > 0) != (test.want == "") {
				t.Errorf("published %v, pinned %v", cache.paths, cache.pins)
			}
			for _, c := range m.Cells {
				if test.want != "" && (c.Publish.Verdict != run.Withheld || !strings.Contains(c.Publish.Reason, test.want)) {
					t.Errorf("%s: %+v, want withheld for %q", c.System, c.Publish, test.want)
				}
			}
		})
	}
}
