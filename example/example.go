// Package example has a flake with the outputs of the default project that builds offline in seconds, and smaller
// flakes that are slow, broken or different. Tests, benchmarks and demonstrations write one of them to a directory and
// build it with the installed Nix.
package example

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed all:flake all:fixtures
var trees embed.FS

// Write writes the example flake into dir, and makes dir if necessary. The result depends only on this package: two
// directories are equal byte for byte, except for the times of their files.
func Write(dir string) error {
	return writeTree(dir, "flake")
}

// Fixtures returns the names that WriteFixture knows, in order.
func Fixtures() []string {
	entries, err := trees.ReadDir("fixtures")
	if err != nil {
		panic(err) // it is embedded
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// WriteFixture writes the flake of that name into dir, and makes dir if necessary.
//
// Fixtures share the example's nixpkgs and lock file, which exist once. A fixture without a flake.nix is the example
// flake with some files replaced.
func WriteFixture(dir, name string) error {
	source := "fixtures/" + name
	if info, err := fs.Stat(trees, source); err != nil || !info.IsDir() {
		return fmt.Errorf("example: no fixture %q; there are %q", name, Fixtures())
	}
	if _, err := fs.Stat(trees, source+"/flake.nix"); errors.Is(err, fs.ErrNotExist) {
		if err := Write(dir); err != nil {
			return err
		}
		return writeTree(dir, source)
	}
	if err := writeTree(dir, source); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "flake.lock"), "flake/flake.lock"); err != nil {
		return err
	}
	return writeTree(filepath.Join(dir, "nixpkgs"), "flake/nixpkgs")
}

// writeTree copies the embedded directory source to dir.
func writeTree(dir, source string) error {
	tree, err := fs.Sub(trees, source)
	if err != nil {
		return err
	}
	return fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		target := filepath.Join(dir, filepath.FromSlash(name))
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		default:
			return writeFile(target, source+"/"+name)
		}
	})
}

// writeFile copies one embedded file. Embedding loses permissions, and NAR hashes cover the executable bit. It
// recognises programs by their first bytes.
func writeFile(target, source string) error {
	data, err := trees.ReadFile(source)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if bytes.HasPrefix(data, []byte("\x7fELF")) {
		mode = 0o755
	}
	if err := os.WriteFile(target, data, mode); err != nil {
		return err
	}
	// The mode above depends on the umask and on an existing file.
	return os.Chmod(target, mode)
}
