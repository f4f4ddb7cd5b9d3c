package dagger

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

func TestKeepMakesRootsWithTheNextCommand(t *testing.T) {
	x := local(t)
	base := t.TempDir()
	old, recent := filepath.Join(base, "old"), filepath.Join(base, "recent")
	for _, dir := range []string{old, recent} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-8 * 24 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	x.roots.dir = filepath.Join(base, "mine")
	paths := []nix.StorePath{"/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906f0-a", "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906f1-b.drv"}
	run := func(script string) string {
		t.Helper()
		out, err := x.Run(t.Context(), bash(script))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for range 2 { // the second time, Keep has nothing to do
		if err := x.Keep(t.Context(), paths); err != nil {
			t.Fatal(err)
		}
		if out := run(`printf '%s' "$0 it runs"`); !strings.HasSuffix(out, "it runs") {
			t.Errorf("the command prints %q", out)
		}
	}
	for _, path := range paths {
		if to, err := os.Readlink(filepath.Join(x.roots.dir, path.Base())); err != nil || to != string(path) {
			t.Errorf("the root of %s is a link to %q, %v", path, to, err)
		}
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("roots of a week ago still exist")
	}
	if _, err := os.Stat(recent); err != nil {
		t.Errorf("roots of another executor are removed: %v", err)
	}
	mine := x.roots.dir
	x.dropRoots()
	if _, err := os.Stat(mine); err == nil {
		t.Error("the roots still exist at the end")
	}
	x.roots.dir = "/proc/no/roots/here"
	if err := x.Keep(t.Context(), paths); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Run(t.Context(), bash("true")); err == nil || !strings.Contains(err.Error(), "exit code") {
		t.Errorf("the roots cannot be written, but the error is %v", err)
	}
}
