package flake

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
			got, err := unlockedOf([]byte(`{"version": 7, "root": "root", "nodes": {"root": {"inputs": {"x": "x"}}, "x": ` + test.node + `}}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An unreadable lock is an error.
func TestUnlockedRefuses(t *testing.T) {
	for lock, want := range map[string]string{
		"{":                           "parse flake.lock:1:2: unexpected end",
		`{"version": 8, "nodes": {}}`: "version 8: want 5, 6 or 7",
		`{"nodes": {}}`:               "version 0",
		`{"version": 7, "nodes": {}}`: "no node",
	} {
		if names, err := unlockedOf([]byte(lock)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", lock, names, err, want)
		}
	}
}

// Nix ignores a byte order mark, and takes any white space.
func TestLocksEditedOnWindows(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(lockText, "\n", "\r\n")
	want, err := inputsOf([]byte(lockText), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := inputsOf([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWithin(t *testing.T) {
	lock, err := ParseLock([]byte(`{"version": 7, "root": "r", "nodes": {
		"r": {"inputs": {"sub": "sub", "far": "far", "same": ["sub"]}},
		"sub": {"locked": {"type": "path", "path": "./sub"}, "parent": []},
		"other": {"locked": {"type": "path", "path": "../other"}, "parent": ["same"]},
		"out": {"locked": {"type": "path", "path": "../../out"}, "parent": ["sub"]},
		"far": {"inputs": {"near": "near"}, "locked": {"type": "github", "dir": "a/b"}},
		"near": {"locked": {"type": "path", "path": "../c"}, "parent": ["far"]},
		"old": {"locked": {"type": "path", "path": "../old"}},
		"loop": {"locked": {"type": "path", "path": "x"}, "parent": ["nowhere"]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"r": ".", "sub": "sub", "other": "other", "out": "../out", "far": "a/b", "near": "a/c", "old": "../old", "loop": "x",
	} {
		if got := lock.Within(name); got != want {
			t.Errorf("%s is at %s, want %s", name, got, want)
		}
	}
}

// The built-in flake may be published.
func TestExampleIsLocked(t *testing.T) {
	data, err := os.ReadFile("../../example/flake/flake.lock")
	if err != nil {
		t.Fatal(err)
	}
	if names, err := unlockedOf(data); err != nil || len(names) > 0 {
		t.Errorf("not locked: %v, %v", names, err)
	}
}
