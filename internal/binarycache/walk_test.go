package binarycache

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// serveDir serves a directory cache on the web, without some of its paths.
func serveDir(t *testing.T, d *Dir, without ...nix.StorePath) *HTTP {
	t.Helper()
	files := http.FileServer(http.Dir(d.path))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, path := range without {
			if r.URL.Path == "/"+infoName(path) {
				http.NotFound(w, r)
				return
			}
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	cache, err := OpenURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return cache.(*HTTP)
}

// A closure is put together from the cache and those that consumers have as well.
func TestConsumerClosure(t *testing.T) {
	d := openTest(t)
	libc := randomObject("libc", 4000)
	ssl := randomObject("ssl", 2000, libc.path)
	tool := randomObject("tool", 1000, ssl.path, libc.path, testPath("tool")) // refers to itself
	other := randomObject("other", 50)
	mustImport(t, d, exportOf(libc, ssl, tool, other))
	want, err := d.Closure(t.Context(), []nix.StorePath{tool.path})
	if err != nil || len(want) != 3 {
		t.Fatalf("%d paths, %v", len(want), err)
	}
	own := serveDir(t, d, libc.path)
	for name, upstream := range map[string]Cache{"on the web": serveDir(t, d), "a directory": d} {
		c := &Consumer{HTTP: own, Upstream: []Cache{upstream}}
		got, err := c.Closure(t.Context(), []nix.StorePath{tool.path, tool.path})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b nix.PathInfo) bool { return a.Path == b.Path && a.NARSize == b.NARSize })); diff != "" {
			t.Errorf("upstream %s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := (&Consumer{HTTP: own}).Closure(t.Context(), []nix.StorePath{tool.path}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a reference that nobody serves: %v", err)
	}
	broken := filepath.Join(d.path, infoName(ssl.path))
	if err := os.Chmod(broken, 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, broken, "no narinfo")
	if _, err := (&Consumer{HTTP: own, Upstream: []Cache{d}}).Closure(t.Context(), []nix.StorePath{tool.path}); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a narinfo that is none: %v", err)
	}
}
