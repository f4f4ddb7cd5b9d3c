package binarycache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

func TestHTTPMissing(t *testing.T) {
	here, gone, forbidden, flaky := nartest.Path("here"), nartest.Path("gone"), nartest.Path("forbidden"), nartest.Path("flaky")
	var flakes atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		switch r.URL.Path {
		case "/base/" + infoName(here):
			writeInfo(w, here)
		case "/base/" + infoName(forbidden):
			w.WriteHeader(http.StatusForbidden)
		case "/base/" + infoName(flaky):
			if flakes.Add(1) == 1 {
				w.WriteHeader(http.StatusBadGateway)
			} else {
				writeInfo(w, flaky)
			}
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	cache, err := OpenURL(server.URL + "/base/?priority=10")
	if err != nil {
		t.Fatal(err)
	}
	if want := server.URL + "/base/"; cache.Name() != want {
		t.Errorf("the name is %s; want %s", cache.Name(), want)
	}
	missing, err := cache.Missing(t.Context(), []nix.StorePath{gone, here, forbidden, flaky, gone})
	if want := []nix.StorePath{gone, forbidden, gone}; err != nil || !slices.Equal(missing, want) {
		t.Errorf("missing are %v, %v; want %v", missing, err, want)
	}
	if n := flakes.Load(); n != 2 {
		t.Errorf("%d requests for a file that failed once", n)
	}
}

// writeInfo writes a narinfo.
func writeInfo(w io.Writer, path nix.StorePath) {
	hash := sha256Of(nil)
	text, _ := nix.FormatNARInfo(&nix.NARInfo{StorePath: path, URL: "nar/x", Compression: "none", NARHash: hash, NARSize: 1})
	_, _ = w.Write(text)
}

func TestHTTPMissingRunsInParallel(t *testing.T) {
	var all sync.WaitGroup
	all.Add(maxRequests)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		all.Done()
		all.Wait() // for the maximum number of requests: with fewer, the test hangs
		writeInfo(w, nartest.Path("p"))
	}))
	defer server.Close()
	cache, err := OpenURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	paths := slices.Repeat([]nix.StorePath{nartest.Path("p")}, maxRequests)
	if missing, err := cache.Missing(t.Context(), paths); err != nil || len(missing) > 0 {
		t.Errorf("missing are %v, %v", missing, err)
	}
}

func TestHTTPErrors(t *testing.T) {
	path := nartest.Path("p")
	var status, asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	cache := NewHTTP(u)
	for code, times := range map[int]int32{http.StatusUnauthorized: 1, http.StatusInternalServerError: 2, http.StatusTooManyRequests: 2} {
		status.Store(int32(code))
		asked.Store(0)
		_, err := cache.Missing(t.Context(), []nix.StorePath{path})
		want := "read narinfo of " + string(path) + " in " + server.URL + ": "
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), http.StatusText(code)) {
			t.Errorf("%d: the error is %v", code, err)
		}
		if n := asked.Load(); n != times {
			t.Errorf("%d: asked %d times, not %d", code, n, times)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cache.Missing(ctx, []nix.StorePath{path}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: the error is %v", err)
	}
	server.Close()
	if _, err := cache.Missing(t.Context(), []nix.StorePath{path}); err == nil || strings.Count(err.Error(), server.URL) != 1 {
		t.Errorf("no server: the error is %v", err)
	}
}

func TestOpenURL(t *testing.T) {
	d := openTest(t)
	cache, err := OpenURL("file://" + d.Name() + "?trusted=1")
	if err != nil || cache.Name() != d.Name() {
		t.Errorf("%v, %v", cache, err)
	}
	absent := filepath.Join(t.TempDir(), "absent")
	for _, text := range []string{
		"file://" + absent, "file://host/dir", "file:", "s3://bucket", "ssh://host", "/some/dir", "https:", "http://%zz",
		"https://user:secret@cache.example.org",
	} {
		cache, err := OpenURL(text)
		if err == nil {
			t.Errorf("%s: opened %s", text, cache.Name())
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows it: %v", text, err)
		}
	}
	if _, err := os.Stat(absent); err == nil {
		t.Error("a directory was created")
	}
}
