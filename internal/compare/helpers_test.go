package compare

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// files writes a tree and returns it.
func files(t testing.TB, contents map[string]string) Tree {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		writeFile(t, filepath.Join(dir, name), text)
	}
	return OnDisk(dir)
}

func narOf(name string, data []byte) Tree {
	return NAR(name, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
}

func mustCompare(t testing.TB, a, b Tree) *Report {
	t.Helper()
	r, err := Trees(context.Background(), a, b, rebuilt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// onlyDifference compares two trees, and returns the first difference, which must be of contents.
func onlyDifference(t testing.TB, a, b Tree) Difference {
	t.Helper()
	r := mustCompare(t, a, b)
	if len(r.Outputs[0].Differences) == 0 {
		t.Fatal("nothing differs")
	}
	d := r.Outputs[0].Differences[0]
	if d.Change == nil {
		t.Fatalf("no change of contents: %+v", d)
	}
	return d
}

func textOf(t testing.TB, a, b Tree) string {
	t.Helper()
	return mustCompare(t, a, b).String()
}

const narMagic = "nix-archive-1"

// fileNAR is the NAR of one file.
func fileNAR(contents []byte) []byte {
	return narWords(narMagic, "(", "type", "regular", "contents", string(contents), ")")
}

// mustTree writes a small tree with one of each type.
func mustTree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "dir/file"), strings.Repeat("contents ", 40))
	writeFile(t, filepath.Join(dir, "script"), "#!/bin/sh\n")
	err := errors.Join(os.Chmod(filepath.Join(dir, "script"), 0o755), os.Symlink("dir/file", filepath.Join(dir, "link")))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func replaceOnce(t testing.TB, data []byte, from, to string) []byte {
	t.Helper()
	if !bytes.Contains(data, []byte(from)) {
		t.Fatalf("no %q to replace", from)
	}
	return bytes.Replace(data, []byte(from), []byte(to), 1)
}
