package example

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "flake")
	for range 2 { // over itself, too
		if err := Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"flake.nix", ".cargo/config.toml", ".github/workflows/ci.yml", "nix/hm-module.nix"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	checkModes(t, dir)
}

func TestWriteFixture(t *testing.T) {
	want := []string{"eval-error", "failing-check", "hash-mismatch", "killed", "open-sesame-1.14.2", "other", "silent", "slow", "unreproducible"}
	if got := Fixtures(); !slices.Equal(got, want) {
		t.Errorf("Fixtures() = %q, want %q", got, want)
	}
	for _, name := range Fixtures() {
		dir := t.TempDir()
		if err := WriteFixture(dir, name); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"flake.nix", "flake.lock", "nixpkgs/flake.nix"} {
			if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
				t.Error(err)
			}
		}
		checkModes(t, dir)
	}
	for _, name := range []string{"", "nope", "..", "slow/flake.nix"} {
		if err := WriteFixture(t.TempDir(), name); err == nil || !strings.Contains(err.Error(), "no fixture") {
			t.Errorf("WriteFixture(%q) = %v, want an error that lists the fixtures", name, err)
		}
	}
}

// checkModes checks that programs, and only they, are executable.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	programs := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o644)
		if bytes.HasPrefix(data, []byte("\x7fELF")) {
			want = 0o755
			programs++
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if programs != 2 {
		t.Errorf("%d programs, want one bootstrap binary for each of two systems", programs)
	}
}
