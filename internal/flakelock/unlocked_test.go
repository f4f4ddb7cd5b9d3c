package flakelock

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnlocked(t *testing.T) {
	const rev = "2741b4b489b55df32afac57bc4bfd220e8bf617e"
	for name, test := range map[string]struct {
		node string // as JSON
		want []string
	}{
		"hash":                         {`{"locked": {"type": "github", "narHash": "sha256-x", "rev": "` + rev + `"}}`, nil},
		"commit of an old lock":        {`{"locked": {"type": "git", "url": "https://x", "rev": "` + rev + `"}}`, nil},
		"directory of the flake":       {`{"locked": {"type": "path", "path": "./nixpkgs"}, "parent": []}`, nil},
		"directory of the machine":     {`{"locked": {"type": "path", "path": "/src/x"}}`, []string{"x"}},
		"the same, by its hash":        {`{"locked": {"type": "path", "path": "/src/x", "narHash": "sha256-x"}}`, nil},
		"repository with changes":      {`{"locked": {"type": "git", "url": "file:///src/x", "dirtyRev": "` + rev + `-dirty"}}`, []string{"x"}},
		"branch in the place of a rev": {`{"locked": {"type": "github", "rev": "main"}}`, []string{"x"}},
		"no lock at all":               {`{"original": {"type": "github"}}`, []string{"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Unlocked([]byte(`{"version": 7, "root": "root", "nodes": {"root": {"inputs": {"x": "x"}}, "x": ` + test.node + `}}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := Unlocked([]byte("{")); err == nil || !strings.Contains(err.Error(), "parse flake.lock") {
		t.Errorf("error is %v", err)
	}
}

// The built-in flake is one that may be published.
func TestTheExampleIsLocked(t *testing.T) {
	data, err := os.ReadFile("../../example/flake/flake.lock")
	if err != nil {
		t.Fatal(err)
	}
	if names, err := Unlocked(data); err != nil || len(names) > 0 {
		t.Errorf("not locked: %v, %v", names, err)
	}
}
