// Package nixtest skips tests that need a Nix, or rights on this machine, that the user does not have.
package nixtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/probe"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Need skips the test if there is no Nix, or if this user cannot open its store.
func Need(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("nix"); err != nil {
		t.Skip("needs Nix:", err)
	}
	if err := opensStore(); err != nil {
		t.Skip("needs the store of Nix:", err)
	}
}

// opensStore tries to add a file to the store. For root, a store that cannot be opened is an error that tests have to
// find.
var opensStore = sync.OnceValue(func() error {
	if root() {
		return nil
	}
	return run("nix-instantiate", "--eval", "--expr", `builtins.toFile "opens-store" ""`)
})

// NeedSystem skips the test if this user's builds cannot run programs of the system.
func NeedSystem(t testing.TB, system matrix.System) {
	t.Helper()
	if isNative(system) {
		return
	}
	if binfmt.Find(system) == nil {
		t.Skipf("the kernel cannot run %s programs: no binfmt entry with flag F", system)
	}
	if err := buildsForeign(); err != nil {
		t.Skipf("this Nix does not build for %s: %v", system, err)
	}
}

// buildsForeign tries to build for the foreign system, which a daemon allows only a user whom it trusts.
var buildsForeign = sync.OnceValue(func() error {
	if root() {
		return nil
	}
	dir, err := os.MkdirTemp("", "nixtest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, s := range matrix.DefaultSystems() {
		if isNative(s) {
			continue
		}
		file := filepath.Join(dir, "probe")
		if err := os.WriteFile(file, probe.ELF(s), 0o755); err != nil {
			return err
		}
		if err := run("nix-build", "--no-out-link", "--option", "extra-platforms", string(s), "-E", probe.Expression(s, file, dir)); err != nil {
			return err
		}
	}
	return nil
})

func run(program string, args ...string) error {
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %v: %s", program, err, out)
	}
	return nil
}

func root() bool { return os.Geteuid() == 0 }

func isNative(system matrix.System) bool {
	return system.Machine() == map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
}
