package compare

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// machine builds in a store of the test, as one of two machines.
type machine struct {
	root, dir, name string
}

// newMachines returns two machines that differ in everything that a builder can see, except the store.
func newMachines(t *testing.T) (first, second machine) {
	t.Helper()
	for _, program := range []string{"nix-build", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs Nix: %v", err)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: Nix builds outside of the sandbox, under another host name")
	}
	if testing.Short() {
		t.Skip("builds with Nix; not with -short")
	}
	root := t.TempDir()
	t.Cleanup(func() {
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = os.Chmod(path, 0o755)
			}
			return nil
		})
	})
	first, second = machine{root, "a", "alpha"}, machine{root, "b", "beta"}
	first.setUp(t, "umask 022; export LC_ALL=C")
	second.setUp(t, "umask 077; export LOCPATH="+locales(t, root)+" LC_ALL=de_DE.UTF-8")
	return first, second
}

// locales compiles a language for the second machine. It skips the tests if the sources are missing.
func locales(t *testing.T, root string) string {
	t.Helper()
	dir := filepath.Join(root, "locales")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "localedef", "-i", "de_DE", "-f", "UTF-8", filepath.Join(dir, "de_DE.UTF-8")).CombinedOutput()
	if err != nil {
		t.Skipf("needs the sources of locales, apt-get install locales: %v\n%s", err, out)
	}
	return dir
}

func (m machine) setUp(t *testing.T, profile string) {
	t.Helper()
	if err := os.MkdirAll(m.temp(), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(m.temp(), "profile"), profile+"\n")
}

func (m machine) temp() string { return filepath.Join(m.root, m.dir) }

// build returns what nix-build prints: store paths, one a line.
func (m machine) build(t *testing.T, args ...string) ([]string, error) {
	t.Helper()
	args = append([]string{"--uts", "sh", "-euc", `hostname "$0"; exec nix-build testdata/unreproducible.nix --no-out-link "$@"`, m.name}, args...)
	cmd := exec.CommandContext(t.Context(), "unshare", args...)
	cmd.Env = append(os.Environ(),
		"TMPDIR="+m.temp(),
		"NIX_STORE_DIR="+filepath.Join(m.root, "store"),
		"NIX_STATE_DIR="+filepath.Join(m.root, "var"),
		"NIX_LOG_DIR="+filepath.Join(m.root, "log"),
		"NIX_REMOTE=local",
		"NIX_CONFIG="+nix.Settings{"build-users-group": "", "substituters": "", "sandbox": "false", "max-jobs": "auto"}.Config())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%v\n%s", err, &stderr)
	}
	return strings.Fields(string(out)), err
}

func (m machine) mustBuild(t *testing.T, args ...string) []string {
	t.Helper()
	paths, err := m.build(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// Each derivation differs in one known way. The report names its cause, or none.
func TestUnreproducible(t *testing.T) {
	t.Parallel()
	tests := []struct {
		attribute string
		want      []Cause // nil if none is certain
	}{
		{"time", []Cause{Timestamp}},
		{"epoch", []Cause{Timestamp}},
		{"macro", []Cause{Timestamp}},
		{"random", []Cause{RandomID}},
		{"salt", nil},
		{"pid", nil},
		{"order", []Cause{Ordering}},
		{"hostname", nil},
		{"umask", []Cause{Permissions}},
		{"modes", nil},
		{"locale", []Cause{Ordering}},
		{"month", nil},
		{"address", nil},
		{"pointer", nil},
		{"gzip", []Cause{ArchiveTime}},
		{"ar", []Cause{ArchiveTime}},
		{"tar", []Cause{ArchiveTime}},
		{"path", []Cause{BuildPath}},
		{"debug", []Cause{BuildPath}},
	}
	began := time.Now()
	first, second := newMachines(t)
	var args []string
	for _, test := range tests {
		args = append(args, "-A", test.attribute)
	}
	paths := first.mustBuild(t, args...)
	if len(paths) != len(tests) {
		t.Fatalf("built %q", paths)
	}
	// The two builds of date(1) must not be in the same second.
	for built := time.Now().Unix(); time.Now().Unix() == built; {
		time.Sleep(10 * time.Millisecond)
	}
	// Each differs, so Nix fails and keeps the second build.
	_, err := second.build(t, append(args, "--check", "-K", "--keep-going")...)
	if err == nil {
		t.Error("Nix says that all of them are deterministic")
	}
	for i, test := range tests {
		t.Run(test.attribute, func(t *testing.T) {
			check := paths[i] + ".check"
			if _, statErr := os.Lstat(check); statErr != nil {
				t.Fatalf("%v\n%v", statErr, err)
			}
			o := Options{SameDerivation: true, Run: Window{began, time.Now()}}
			r, err := Trees(t.Context(), OnDisk(paths[i]), OnDisk(check), o)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Outputs[0].Differences[0].Causes; !slices.Equal(got, test.want) {
				t.Errorf("causes %q, want %q\n%s", got, test.want, r)
			}
		})
	}
}

// Deterministic derivations never differ, in a hundred builds on each of two machines.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	first, second := newMachines(t)
	runs := 100
	if os.Getenv("OPEN_SESAME_CI_ALL") == "" {
		runs = 10 // each is a build, and one more
	}
	args := []string{"-A", "deterministic", "--arg", "runs"}
	paths := first.mustBuild(t, append(args, fmt.Sprint(runs))...)
	if len(paths) != runs { // each has its own derivation, and so its own path
		t.Fatalf("%d builds", len(paths))
	}
	for i, path := range paths {
		r, err := Trees(t.Context(), OnDisk(paths[0]), OnDisk(path), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Same || r.Outputs[0].Files != 8 {
			t.Fatalf("build %d: %+v", i, r)
		}
	}
	// Nix compares the builds of the other machine with each of them.
	second.mustBuild(t, append(args, fmt.Sprint(runs), "--check")...)
}

// dumpOf returns the NAR that Nix makes of a tree.
func dumpOf(t testing.TB, path string) []byte {
	t.Helper()
	if _, err := exec.LookPath("nix-store"); err != nil {
		t.Skipf("needs Nix: %v", err)
	}
	out, err := exec.CommandContext(context.Background(), "nix-store", "--dump", path).Output()
	if err != nil {
		t.Fatalf("nix-store --dump %s: %v", path, err)
	}
	return out
}
