package flake

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestReachable(t *testing.T) {
	t.Parallel()
	r, bare, first, second, lost := history(t)
	r.git("checkout", "--quiet", "main")
	middle := r.git("rev-parse", second+"^")
	url := server(t, filepath.Dir(bare), "").URL + "/r.git"
	clone := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "--quiet", url, clone)
	r.git("-C", clone, "fetch", "--quiet", r.dir, lost+":refs/remotes/origin/pull/7/head", lost+":refs/heads/theirs")
	alone := filepath.Join(t.TempDir(), "alone")
	r.git("clone", "--quiet", bare, alone)
	r.git("-C", alone, "remote", "remove", "origin")

	for _, tt := range []struct {
		ref, rev string
		want     bool
	}{
		{url, first, true},  // a tag and a branch
		{url, second, true}, // a branch
		{url, middle, true}, // in the history of a branch
		{url, lost, false},  // the server has it, no branch leads to it
		{url, strings.Repeat("0", 40), false},
		{clone, middle, true},
		{clone, lost, false}, // branches of the clone itself do not count
		{r.dir, second, true},
		{r.dir, lost, false},
		{alone, middle, true},
		{alone, lost, false},
		{"git+file://" + bare, middle, true},
		{"git+file://" + bare, lost, false},
	} {
		if got, err := snapshotter(t, tt.ref, r.env).Reachable(t.Context(), tt.rev); err != nil || got != tt.want {
			t.Errorf("%s in %s: got %t, %v, want %t", tt.rev, tt.ref, got, err, tt.want)
		}
	}
	for ref, want := range map[string]string{
		"git+file://" + t.TempDir():          "is not a git repository",
		"git+http://127.0.0.1:1/nowhere.git": "git ls-remote",
	} {
		if ok, err := snapshotter(t, ref, r.env).Reachable(t.Context(), first); ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %t, %v, want %q", ref, ok, err, want)
		}
	}
}

// TestReachableExecutesNothing has a checkout whose remote is a repository with programs in its configuration.
func TestReachableExecutesNothing(t *testing.T) {
	t.Parallel()
	r, bare, first, _, _ := history(t)
	tr := newTrap(t)
	tr.set(bare)
	tr.set(filepath.Join(r.dir, ".git"))
	for _, url := range []string{bare, "ext::" + tr.command(), "ssh://-oProxyCommand=x/y", "--upload-pack=" + tr.command()} {
		r.git("config", "--file", filepath.Join(r.dir, ".git", "config"), "--replace-all", "remote.origin.url", url)
		ok, err := snapshotter(t, r.dir, r.env).Reachable(t.Context(), first)
		if url != bare && (ok || err == nil) {
			t.Errorf("%s: got %t, %v", url, ok, err)
		}
		if exists(tr.mark) {
			t.Errorf("%s: git has run a program of the repository", url)
		}
	}
}
