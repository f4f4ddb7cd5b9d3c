package flake

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTracked(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"results/cache/nix-cache-info": "x", "sub/results/a b": "x", "link": "-> results", "file": "x", "outcome/x": "x"})
	r.write(map[string]string{"untracked/x": "x"})
	elsewhere := t.TempDir()
	r.git("worktree", "add", "--quiet", filepath.Join(elsewhere, "worktree"), "HEAD", "--detach")
	if err := os.Symlink(r.dir, filepath.Join(elsewhere, "checkout")); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		"results":                           "results/cache/nix-cache-info",
		"results/cache":                     "results/cache/nix-cache-info",
		"results/new":                       "",
		"sub/results":                       "sub/results/a b",
		"link":                              "link",
		"link/cache":                        "results/cache/nix-cache-info",
		"file":                              "file",
		".":                                 "file",
		"untracked":                         "",
		"out":                               "", // the beginning of a name is not enough
		"out*":                              "", // and a name is no pattern
		"new/results":                       "",
		elsewhere + "/checkout/results":     elsewhere + "/checkout/results/cache/nix-cache-info",
		elsewhere + "/checkout/new/results": "",
		elsewhere + "/worktree/results":     elsewhere + "/worktree/results/cache/nix-cache-info",
		elsewhere + "/no-checkout":          "",
	} {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(r.dir, dir)
		}
		if want != "" && !filepath.IsAbs(want) {
			want = filepath.Join(r.dir, want)
		}
		got, err := Tracked(t.Context(), r.env, dir, t.TempDir())
		if err != nil || got != want {
			t.Errorf("in %s: %q, %v; want %q", dir, got, err, want)
		}
	}
}
