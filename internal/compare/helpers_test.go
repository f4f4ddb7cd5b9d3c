package compare

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
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
	r, err := Trees(context.Background(), a, b, Options{Hosts: []string{"alpha"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// onlyDifference compares two trees that differ in the contents of one file, or of two of one kind.
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
	var out bytes.Buffer
	if err := mustCompare(t, a, b).WriteText(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

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

// sectionOffset asks readelf where a section begins; 0 where there is none.
func sectionOffset(t testing.TB, program []byte, section string) int {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, program, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("readelf", "-S", "-W", file).Output()
	if err != nil {
		t.Skipf("needs readelf, of binutils: %v", err)
	}
	m := regexp.MustCompile(` ` + regexp.QuoteMeta(section) + ` +\S+ +[0-9a-f]+ ([0-9a-f]+) `).FindSubmatch(out)
	if m == nil {
		return 0
	}
	offset, err := strconv.ParseInt(string(m[1]), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(offset)
}
