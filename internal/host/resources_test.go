package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestResourcesAreThoseOfNixsStoreAndBuildDirectory(t *testing.T) {
	dir := t.TempDir()
	x := &Executor{Env: []string{"TMPDIR=/proc", "NIX_REMOTE=local?root=" + dir + "&state=/x"}}
	if got, want := x.storeDir(), dir+"/nix/store"; got != want {
		t.Errorf("the store is at %s, want %s", got, want)
	}
	r := x.Resources()
	if r.StoreFree <= 0 {
		t.Errorf("%d bytes are free for a store that is not made yet, want those of its parent", r.StoreFree)
	}
	if r.BuildFree != 0 {
		t.Errorf("%d bytes are free where nothing can be written, want 0", r.BuildFree)
	}
	builds := filepath.Join(dir, "nix/var/nix/builds")
	if err := os.MkdirAll(builds, 0o755); err != nil {
		t.Fatal(err)
	}
	x.Env = x.Env[1:]
	if r := x.Resources(); r.BuildFree <= 0 {
		t.Errorf("%d bytes are free in %s", r.BuildFree, builds)
	}
	if got := (&Executor{}).storeDir(); got != "/nix/store" {
		t.Errorf("the store is at %s, want /nix/store", got)
	}
}

func TestCounter(t *testing.T) {
	const events = "low 0\nhigh 7\noom 2\noom_kill 3\noom_group_kill 0\n"
	if n, ok := counter(events, "oom_kill"); n != 3 || !ok {
		t.Errorf("oom_kill is %d, %t; want 3", n, ok)
	}
	if _, ok := counter("low 0\n", "oom_kill"); ok {
		t.Error("a counter that is not there is read")
	}
}
