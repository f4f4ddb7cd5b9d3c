package example

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
)

// A nix runs the machine's own Nix without network, on flakes whose lock file is complete.
type nix struct {
	t        *testing.T
	settings []string // further lines of nix.conf
}

// newNix skips the test if there is no Nix.
func newNix(t *testing.T, settings ...string) nix {
	t.Helper()
	nixtest.Need(t)
	if testing.Short() {
		t.Skip("runs Nix; not with -short")
	}
	return nix{t, settings}
}

// execute returns what a command printed: its result, and its log together with its errors.
func (n nix) run(args ...string) (stdout, stderr string, err error) {
	n.t.Helper()
	settings := append([]string{
		"experimental-features = nix-command flakes",
		"extra-platforms = aarch64-linux x86_64-linux",
		"substituters =",
		"sandbox = true",
		"warn-dirty = false",
		"eval-cache = false", // Nix 2.8 words a cached failure differently
	}, n.settings...)
	if os.Getuid() == 0 {
		settings = append(settings, "build-users-group =") // build as root if there are no build users
	}
	cmd := exec.CommandContext(n.t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "NIX_CONFIG="+strings.Join(settings, "\n"))
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		n.t.Fatal(err)
	}
	return out.String(), log.String(), err
}

// must runs a command that has to succeed.
func (n nix) must(args ...string) (stdout, stderr string) {
	n.t.Helper()
	stdout, stderr, err := n.run(args...)
	if err != nil {
		n.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return strings.TrimSpace(stdout), stderr
}

// build realises installables of a flake and returns their output paths and the build log.
func (n nix) build(flake string, attributes ...string) (paths []string, log string) {
	n.t.Helper()
	args := []string{"nix", "build", "-L", "--no-link", "--json", "--no-update-lock-file"}
	for _, a := range attributes {
		args = append(args, flake+"#"+a)
	}
	out, log := n.must(args...)
	var built []struct{ Outputs struct{ Out string } }
	if err := json.Unmarshal([]byte(out), &built); err != nil {
		n.t.Fatal(err)
	}
	// One by one: Nix prints them in its own order.
	for _, a := range attributes {
		path, _ := n.must("nix", "eval", "--raw", "--no-update-lock-file", flake+"#"+a+".outPath")
		paths = append(paths, path)
	}
	if len(built) != len(paths) {
		n.t.Errorf("%d results for %q", len(built), attributes)
	}
	return paths, log
}

// snapshot writes a flake like a run, with equal times, and returns its locked reference.
func (n nix) snapshot(write func(dir string) error) string {
	n.t.Helper()
	dir := filepath.Join(n.t.TempDir(), "source")
	if err := write(dir); err != nil {
		n.t.Fatal(err)
	}
	const seconds = "1700000000"
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, time.Time{}, time.Unix(1700000000, 0))
	})
	if err != nil {
		n.t.Fatal(err)
	}
	hash, _ := n.must("nix", "hash", "path", dir)
	hash = strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(hash)
	return "path:" + dir + "?lastModified=" + seconds + "&rev=" + strings.Repeat("c0ffee00", 5) + "&narHash=" + hash
}

// fixture is a write function for snapshot.
func fixture(name string) func(string) error {
	return func(dir string) error { return WriteFixture(dir, name) }
}
