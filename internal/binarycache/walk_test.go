package binarycache

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// serveDir serves a directory by HTTP, without some of its paths.
func serveDir(t *testing.T, d *Dir, without ...nix.StorePath) *HTTP {
	t.Helper()
	files := http.FileServer(http.Dir(d.name))
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

// The objects of a closure may be in the cache and in other caches of the consumer.
func TestConsumerClosure(t *testing.T) {
	d := openTest(t)
	libc := nartest.RandomObject("libc", 4000)
	ssl := nartest.RandomObject("ssl", 2000, libc.Path)
	tool := nartest.RandomObject("tool", 1000, ssl.Path, libc.Path, nartest.Path("tool")) // refers to itself
	other := nartest.RandomObject("other", 50)
	mustImport(t, d, nartest.Export(libc, ssl, tool, other))
	want, err := d.Closure(t.Context(), []nix.StorePath{tool.Path})
	if err != nil || len(want) != 3 {
		t.Fatalf("%d paths, %v", len(want), err)
	}
	own := serveDir(t, d, libc.Path)
	for name, upstream := range map[string]Cache{"on the web": serveDir(t, d), "a directory": d} {
		c := &Consumer{HTTP: own, Upstream: []Cache{upstream}}
		got, err := c.Closure(t.Context(), []nix.StorePath{tool.Path, tool.Path})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b nix.PathInfo) bool { return a.Path == b.Path && a.NARSize == b.NARSize })); diff != "" {
			t.Errorf("upstream %s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := (&Consumer{HTTP: own}).Closure(t.Context(), []nix.StorePath{tool.Path}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a reference that no cache has: %v", err)
	}
	broken := filepath.Join(d.name, infoName(ssl.Path))
	if err := os.Chmod(broken, 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, broken, "no narinfo")
	if _, err := (&Consumer{HTTP: own, Upstream: []Cache{d}}).Closure(t.Context(), []nix.StorePath{tool.Path}); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a narinfo that is none: %v", err)
	}
}
