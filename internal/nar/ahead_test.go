package nar

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
)

func archiveOf(all ...string) []byte {
	var out []byte
	for _, w := range all {
		out = binary.LittleEndian.AppendUint64(out, uint64(len(w)))
		out = append(out, w...)
		out = append(out, make([]byte, -len(w)&7)...)
	}
	return out
}

// tree is a directory with a file, a directory, an executable in it, and a link.
func tree() []byte {
	return archiveOf(magic, "(", "type", "directory",
		"entry", "(", "name", "a", "node", "(", "type", "regular", "contents", strings.Repeat("text ", 5), ")", ")",
		"entry", "(", "name", "dir", "node", "(", "type", "directory",
		"entry", "(", "name", "x", "node", "(", "type", "regular", "executable", "", "contents", "run", ")", ")", ")", ")",
		"entry", "(", "name", "link", "node", "(", "type", "symlink", "target", "a", ")", ")", ")")
}

// readAll returns the entries of an archive, and the joined contents of all files.
func readAll(ctx context.Context, data []byte) (entries []Entry, contents string, err error) {
	r := NewReaderAhead(ctx, io.NopCloser(bytes.NewReader(data)))
	defer r.Close()
	for {
		e, err := r.Next()
		if err == io.EOF {
			return entries, contents, nil
		}
		if err != nil {
			return entries, contents, err
		}
		entries = append(entries, *e)
		for e.Type == Regular {
			p, err := r.Peek()
			if err == io.EOF {
				break
			}
			if err != nil {
				return entries, contents, err
			}
			contents += string(p)
			r.Discard(len(p))
		}
	}
}

func TestReaderAhead(t *testing.T) {
	entries, contents, err := readAll(t.Context(), tree())
	want := []Entry{
		{Type: Directory},
		{Path: "a", Type: Regular, Size: 25},
		{Path: "dir", Type: Directory},
		{Path: "dir/x", Type: Regular, Size: 3, Executable: true},
		{Path: "link", Type: Symlink, Target: "a"},
	}
	if err != nil || !slices.Equal(entries, want) || contents != strings.Repeat("text ", 5)+"run" {
		t.Errorf("%+v, %q, %v", entries, contents, err)
	}
	for n := range len(tree()) - 1 {
		if _, _, err := readAll(t.Context(), tree()[:n]); err == nil {
			t.Errorf("an archive of %d bytes is complete", n)
		}
	}
}

func TestOrder(t *testing.T) {
	sorted := []string{"", "a", "a/b", "a/b/c", "a/c", "a.b", "ab", "b"}
	if !slices.IsSortedFunc(sorted, Order) {
		t.Error("a directory, its entries and the next name are not in this order")
	}
}

// The names of a valid archive are sorted, and no name leads out of its directory.
func FuzzReader(f *testing.F) {
	f.Add(tree())
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _, err := readAll(t.Context(), data)
		if err != nil {
			return
		}
		if !slices.IsSortedFunc(entries, func(a, b Entry) int { return Order(a.Path, b.Path) }) {
			t.Errorf("not sorted: %+v", entries)
		}
		for _, e := range entries {
			if slices.Contains(strings.Split(e.Path, "/"), "..") {
				t.Errorf("path %q", e.Path)
			}
		}
	})
}
