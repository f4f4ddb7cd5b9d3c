package drvdiff

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// evaluate returns the derivation of an attribute of a flake.
func (s testStore) evaluate(t *testing.T, dir, attribute string, args ...string) nix.StorePath {
	t.Helper()
	out := s.output(t, "nix", append([]string{"eval", "--raw", s.lock(t, dir) + "#" + attribute}, args...)...)
	path, err := nix.ParseStorePath(out)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// lock gives all files of a tree the same time, and returns a locked reference to the tree.
func (s testStore) lock(t *testing.T, dir string) string {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, time.Time{}, time.Unix(1700000000, 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	return "path:" + dir + "?lastModified=1700000000&narHash=" + url.QueryEscape(s.output(t, "nix", "hash", "path", dir))
}

func edit(t *testing.T, file, old, new string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The example flake is evaluated twice, with one file changed in between.
func TestExample(t *testing.T) {
	store := newTestStore(t)
	drv := func(t *testing.T, c change) Side {
		dir := filepath.Join(t.TempDir(), "source")
		if err := example.Write(dir); err != nil {
			t.Fatal(err)
		}
		if c.file != "" {
			edit(t, filepath.Join(dir, c.file), c.old, c.new)
		}
		// Its nixpkgs is locked, so a change there needs an override.
		nixpkgs := store.lock(t, filepath.Join(dir, "nixpkgs"))
		root := store.evaluate(t, dir, "packages.x86_64-linux.default.drvPath", "--override-input", "nixpkgs", nixpkgs)
		return Side{"a", root, store.reader()}
	}
	before := drv(t, change{})
	const desktop, headless = "open-sesame-desktop-1.14.2", "open-sesame-desktop-1.14.2 → open-sesame-1.14.2"
	for name, c := range map[string]change{
		"source of the packages": {file: "core-types/src/lib.rs", old: "\n", new: "\n\n", where: headless, what: "input source source"},
		"hook of one": {
			file: "nix/package-desktop.nix", old: "export HOME=$(mktemp -d)", new: "export HOME=$TMPDIR", where: desktop, what: "env preCheck",
			a: `"export HOME=$(mktemp -d)"`, b: `"export HOME=$TMPDIR"`,
		},
		"script of all":   {file: "nixpkgs/stdenv/setup.sh", old: "\n", new: "\n\n", where: desktop + " → stdenv-linux", what: "input source setup.sh"},
		"option of Cargo": {file: "nix/package.nix", old: "buildNoDefaultFeatures = true;", where: headless, what: "env buildPhase", more: 1},
	} {
		t.Run(name, func(t *testing.T) { c.check(t, mustDiff(t, before, drv(t, c))) })
	}
}

// A flake that is its own source: some versions of Nix have the digest of its tree in the source's name.
func TestFlakeItself(t *testing.T) {
	store, dir := newTestStore(t), t.TempDir()
	file := filepath.Join(dir, "flake.nix")
	const flake = `{ outputs = _: { leaf = derivation { name = "leaf"; system = "x86_64-linux"; builder = "/bin/sh"; src = ./.; }; }; } # 1`
	if err := os.WriteFile(file, []byte(flake), 0o644); err != nil {
		t.Fatal(err)
	}
	drv := func() Side { return Side{"a", store.evaluate(t, dir, "leaf.drvPath"), store.reader()} }
	before := drv()
	edit(t, file, "# 1", "# 2")
	change{where: "leaf", what: "input source source"}.check(t, mustDiff(t, before, drv()))
}
