package binarycache

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// references has the references of each object in a [heldCache].
var references = []nix.StorePath{"/nix/store/00000000000000000000000000000004-dep"}

// heldCache makes a cache of objects with the same NAR, each in another compression.
func heldCache(t *testing.T) (dir string, hashes map[nix.StorePath]string, nar []byte) {
	t.Helper()
	dir, hashes = t.TempDir(), map[nix.StorePath]string{}
	writeTestFile(t, filepath.Join(dir, "nix-cache-info"), []byte("StoreDir: /nix/store\n"))
	nar = bytes.Repeat([]byte("contents of a NAR "), 5000)
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(nar); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	hasher := gonix.NewHasher(gonix.SHA256)
	hasher.Write(nar)
	for name, file := range map[string][]byte{"none": nar, "xz": packed.Bytes()} {
		path := nix.StorePath("/nix/store/0000000000000000000000000000000" + map[string]string{"none": "1", "xz": "2"}[name] + "-" + name)
		info := &nix.NARInfo{
			StorePath: path, URL: "nar/" + name, Compression: gonix.CompressionType(name),
			NARHash: hasher.SumHash(), NARSize: int64(len(nar)), References: references,
		}
		text, err := nix.FormatNARInfo(info)
		if err != nil {
			t.Fatal(err)
		}
		writeTestFile(t, filepath.Join(dir, infoName(path)), text)
		writeTestFile(t, filepath.Join(dir, "nar", name), file)
		hashes[path] = info.NARHash.SRI()
	}
	return dir, hashes, nar
}

func writeTestFile(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A directory and a server return the same metadata. A missing path is no error.
func TestInfos(t *testing.T) {
	root, want, nar := heldCache(t)
	dir, err := OpenReadOnly(root)
	if err != nil {
		t.Fatal(err)
	}
	var failed atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failed.CompareAndSwap(false, true) { // the first request
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		http.FileServer(http.Dir(root)).ServeHTTP(w, r)
	}))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	const absent = "/nix/store/00000000000000000000000000000003-absent"
	paths := []nix.StorePath{absent}
	for path := range want {
		paths = append(paths, path)
	}
	for name, holder := range map[string]interface {
		Infos(context.Context, []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error)
	}{"directory": dir, "server": NewHTTP(u)} {
		infos, err := holder.Infos(t.Context(), paths)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := map[nix.StorePath]string{}
		for path, info := range infos {
			got[path] = info.NARHash.SRI()
			if diff := cmp.Diff(references, info.References); diff != "" {
				t.Errorf("%s: references of %s (-want +got):\n%s", name, path, diff)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for path := range want {
		var out bytes.Buffer
		if err := NewHTTP(u).Dump(t.Context(), &out, path); err != nil || !bytes.Equal(out.Bytes(), nar) {
			t.Errorf("%s: %d bytes, %v", path, out.Len(), err)
		}
	}
	if err := NewHTTP(u).Dump(t.Context(), &bytes.Buffer{}, absent); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing path: %v", err)
	}
}

// A missing NAR is an error, and so is a NAR that differs from its narinfo.
func TestDumpOfAMissingNAR(t *testing.T) {
	root, _, nar := heldCache(t)
	server := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	nar[0] ^= 1
	writeTestFile(t, filepath.Join(root, "nar/none"), nar)
	if err := os.Remove(filepath.Join(root, "nar/xz")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[nix.StorePath]string{
		"/nix/store/00000000000000000000000000000001-none": "not what its narinfo states",
		"/nix/store/00000000000000000000000000000002-xz":   "its narinfo is there, but its NAR nar/xz is not",
	} {
		if err := NewHTTP(u).Dump(t.Context(), &bytes.Buffer{}, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	server.Close()
	if _, err := NewHTTP(u).Infos(t.Context(), []nix.StorePath{"/nix/store/00000000000000000000000000000001-none"}); err == nil {
		t.Error("a server that is gone has nothing to say")
	}
}
