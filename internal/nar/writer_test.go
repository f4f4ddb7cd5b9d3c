package nar

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
)

func TestHashTree(t *testing.T) {
	dir := nartest.OddTree(t)
	for _, path := range []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "empty"), filepath.Join(dir, "dangling"), filepath.Join(dir, "void")} {
		hash, size, err := HashTree(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		hasher := gonix.NewHasher(gonix.SHA256)
		dump := nartest.RunNix(t, "nix-store", "--dump", path)
		_, _ = hasher.Write(dump)
		if want := hasher.SumHash(); !hash.Equal(want) || size != int64(len(dump)) {
			t.Errorf("%s: %v of %d bytes, but Nix has %v of %d", path, hash, size, want, len(dump))
		}
		if sri := strings.TrimSpace(string(nartest.RunNix(t, "nix", "hash", "path", path))); sri != hash.SRI() {
			t.Errorf("%s: %v, but nix hash path says %s", path, hash, sri)
		}
	}
}

// The reader reads the output of the writer.
func TestWriteTreeReadBack(t *testing.T) {
	o := nartest.Object{Path: nartest.Path("tree")}
	nar := dump(t, nartest.OddTree(t))
	var read bytes.Buffer
	err := ReadExport(bytes.NewReader(nartest.Words(1, nar, nartest.ExportMagic, o.Path, 0, "", 0, 0)), CopyTo(&read), func(Object) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read.Bytes(), nar) {
		t.Error("the NAR came back changed")
	}
}

// A signal ends the reading of a large tree.
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
	if _, _, err := HashTree(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "cannot be in a NAR") {
		t.Errorf("socket: the error is %v", err)
	}
	// /proc/version has size 0, but is not empty: like a file that grows while it is read.
	if _, _, err := HashTree(t.Context(), "/proc/version"); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("grown: the error is %v", err)
	}
}

func dump(t testing.TB, path string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := DumpTree(t.Context(), &b, path); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
