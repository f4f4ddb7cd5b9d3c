package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
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
		t.Errorf("%d bytes are free on a file system without space, want 0", r.BuildFree)
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

func TestLineAfter(t *testing.T) {
	const events = "low 0\nhigh 7\noom 2\noom_kill 3\noom_group_kill 0\n"
	if n, ok := lineAfter(events, "oom_kill "); n != "3" || !ok {
		t.Errorf("oom_kill is %q, %t; want 3", n, ok)
	}
	if n, ok := lineAfter("low 0\n", "oom_kill "); ok {
		t.Errorf("a missing counter is %q", n)
	}
}

func TestFailureOnAFullDiskHasAHint(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		env  []string
		want string
	}{
		"builds": {[]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=/proc"}, "the file system of Nix's builds (/proc) has 0 KiB left: make room: nix-collect-garbage"},
		"store":  {[]string{"PATH=" + os.Getenv("PATH"), "NIX_REMOTE=local?root=/proc"}, "the file system of Nix's store (/proc/nix/store) has 0 KiB left: make room: nix-collect-garbage"},
		"room":   {[]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "NIX_REMOTE=local?root=" + dir}, ""},
	} {
		x := &Executor{Env: test.env}
		_, err := x.Run(t.Context(), engine.Command{Program: "false"})
		var exit *engine.ExitError
		if !errors.As(err, &exit) || exit.Code != 1 {
			t.Errorf("%s: error %v, want that of the command", name, err)
		}
		if got := strings.Join(hint.Of(err), "\n"); got != test.want {
			t.Errorf("%s: hint %q, want %q", name, got, test.want)
		}
	}
}
