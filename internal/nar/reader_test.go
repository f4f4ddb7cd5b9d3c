package nar

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
)

// read returns the entries of an archive, and the contents of its files.
func read(r *Reader) (entries []Entry, contents []string, err error) {
	for {
		entry, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries, contents, nil
		}
		if err != nil {
			return nil, nil, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, nil, err
		}
		entries, contents = append(entries, *entry), append(contents, string(data))
	}
}

// onDisk returns the same as read, from the tree on disk.
func onDisk(t *testing.T, tree string) (entries []Entry, contents []string) {
	t.Helper()
	err := filepath.WalkDir(tree, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(tree, name)
		e, data := Entry{Path: strings.TrimPrefix(rel, ".")}, []byte(nil)
		if rel != "." {
			e.Path = rel
		}
		switch info.Mode().Type() {
		case fs.ModeDir:
			e.Type = Directory
		case fs.ModeSymlink:
			e.Type = Symlink
			e.Target, err = os.Readlink(name)
		default:
			e.Type, e.Size = Regular, info.Size()
			e.Executable = info.Mode()&0o100 != 0
			data, err = os.ReadFile(name)
		}
		entries, contents = append(entries, e), append(contents, string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries, contents
}

func TestReader(t *testing.T) {
	tree := nartest.OddTree(t)
	archive := dump(t, tree)
	wantEntries, wantContents := onDisk(t, tree)
	for name, in := range map[string]io.Reader{
		"at once": bytes.NewReader(archive), "byte by byte": iotest.OneByteReader(bytes.NewReader(archive)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(archive)),
	} {
		var copied bytes.Buffer
		r := NewReader(in)
		r.CopyTo(&copied)
		entries, contents, err := read(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(wantEntries, entries); diff != "" {
			t.Errorf("%s: entries (-want +got):\n%s", name, diff)
		}
		if !slices.Equal(contents, wantContents) {
			t.Errorf("%s: the contents are not those of the tree", name)
		}
		if !bytes.Equal(copied.Bytes(), archive) {
			t.Errorf("%s: the copy is not the archive", name)
		}
	}
}

// A reader that skips the contents returns the same entries.
func TestReaderSkipsContents(t *testing.T) {
	tree := nartest.OddTree(t)
	want, _ := onDisk(t, tree)
	r := NewReader(bytes.NewReader(dump(t, tree)))
	var got []Entry
	for i := 0; ; i++ {
		entry, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = r.Read(make([]byte, i%3)) // a part, of some
		got = append(got, *entry)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReaderRefuses(t *testing.T) {
	archive := nartest.File([]byte("content"))
	if _, _, err := read(NewReader(bytes.NewReader(append(slices.Clone(archive), 'x')))); err == nil || !strings.Contains(err.Error(), "more bytes follow the end of the archive") {
		t.Errorf("data behind the archive: %v", err)
	}
	for n := 1; n < len(archive); n++ {
		if _, _, err := read(NewReader(bytes.NewReader(archive[:n]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	mine := errors.New("mine")
	if _, _, err := read(NewReader(io.MultiReader(bytes.NewReader(archive[:40]), iotest.ErrReader(mine)))); !errors.Is(err, mine) {
		t.Errorf("error of the stream: %v", err)
	}
	r := NewReader(bytes.NewReader(archive))
	r.CopyTo(failingWriter{mine})
	if _, _, err := read(r); !errors.Is(err, mine) {
		t.Errorf("error of the copy: %v", err)
	}
}
