package binarycache

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gonix "zombiezen.com/go/nix"
)

// oddTree makes a tree with all that a NAR can have.
func oddTree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	files := map[string]os.FileMode{
		"empty": 0o644, "..data": 0o644, "...": 0o600, "+": 0o644, "a": 0o755, "A": 0o444,
		"a.b": 0o644, "a-b": 0o644, "group-x": 0o654, "other-x": 0o645, "only-x": 0o500,
		"\xff\xfe": 0o644, "käse": 0o644, "sub/a": 0o644, "sub/deeper/file": 0o644, "a b\nc": 0o644,
	}
	for name, mode := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		content := strings.Repeat(name, len(name))
		if name == "empty" {
			content = ""
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "void"), 0o755),
		os.Symlink("nowhere", filepath.Join(dir, "dangling")),
		os.Symlink("sub", filepath.Join(dir, "to-dir")),
		os.WriteFile(filepath.Join(dir, "big"), bytes.Repeat([]byte("0123456789"), 70_001), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestHashTree(t *testing.T) {
	dir := oddTree(t)
	for _, path := range []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "empty"), filepath.Join(dir, "dangling"), filepath.Join(dir, "void")} {
		hash, size, err := HashTree(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		hasher := gonix.NewHasher(gonix.SHA256)
		dump := runNix(t, "nix-store", "--dump", path)
		_, _ = hasher.Write(dump)
		if want := hasher.SumHash(); !hash.Equal(want) || size != int64(len(dump)) {
			t.Errorf("%s: %v of %d bytes, but Nix has %v of %d", path, hash, size, want, len(dump))
		}
		if sri := strings.TrimSpace(string(runNix(t, "nix", "hash", "path", path))); sri != hash.SRI() {
			t.Errorf("%s: %v, but nix hash path says %s", path, hash, sri)
		}
	}
}

// What is written can be read, by this package.
func TestWriteTreeReadBack(t *testing.T) {
	o := testObject{path: testPath("tree")}
	nar := treeNAR(t, oddTree(t))
	var read bytes.Buffer
	err := ReadExport(bytes.NewReader(words(1, nar, exportMagic, o.path, 0, "", 0, 0)), &read, func(Object) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read.Bytes(), nar) {
		t.Error("the NAR came back changed")
	}
}

// A large tree is read for a long time; a signal ends that.
func TestHashTreeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := errors.New("ended by a signal")
	cancel(ended)
	if _, _, err := HashTree(ctx, t.TempDir()); !errors.Is(err, ended) {
		t.Errorf("error %v, want %v", err, ended)
	}
}

func TestHashTreeRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := HashTree(t.Context(), filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: the error is %v", err)
	}
	socket, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if _, _, err := HashTree(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "has no place in a NAR") {
		t.Errorf("socket: the error is %v", err)
	}
	// /proc/version has a size of 0 and content all the same: a file that grows while it is read.
	if _, _, err := HashTree(t.Context(), "/proc/version"); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("grown: the error is %v", err)
	}
}
