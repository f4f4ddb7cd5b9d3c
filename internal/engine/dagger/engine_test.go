package dagger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// counter counts the bytes that are written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func TestEngineLargeOutput(t *testing.T) {
	x := open(t, options(t, matrix.X8664Linux))
	const size = 200 << 20
	var stderr, stdout counter
	c := bash(fmt.Sprintf("head -c %d /dev/zero >&2 & head -c %d /dev/zero; wait", size, size))
	c.Stdout, c.Stderr = &stdout, &stderr
	start := time.Now()
	if _, err := x.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d MB in %s, %d MiB of memory in all", 2*size/1_000_000, time.Since(start), m.Sys>>20)
	if stdout.n != size || stderr.n != size {
		t.Errorf("%d and %d bytes arrived, want %d each", stdout.n, stderr.n, size)
	}
}

// Processes that a command leaves behind do not delay its end, and end with it.
func TestEngineEndsProcessesThatACommandLeaves(t *testing.T) {
	x := open(t, options(t, matrix.X8664Linux))
	start := time.Now()
	out, err := x.Run(t.Context(), bash("sleep 300 & setsid sleep 300 & setsid bash -c \"trap '' TERM HUP; sleep 300\" & echo done"))
	if err != nil || string(out) != "done\n" {
		t.Errorf("output %q, %v", out, err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the command took %s to end", d)
	}
}

// The next session finds the objects that a session has added to the store.
func TestEngineKeepsStore(t *testing.T) {
	o := options(t, matrix.X8664Linux)
	expression := fmt.Sprintf("builtins.toFile \"kept\" %q", rand.Text())
	out, err := open(t, o).Run(t.Context(), engine.Command{Program: "nix", Args: []string{"eval", "--raw", "--expr", expression}})
	if err != nil {
		t.Fatal(err)
	}
	o.Cache = t.TempDir() // converted again: only the content matters
	out, err = open(t, o).Run(t.Context(), engine.Command{Program: "nix-store", Args: []string{"--check-validity", "--print-invalid", string(out)}})
	if err != nil || len(out) > 0 {
		t.Errorf("not kept: %s %v", out, err)
	}
}

func TestEngineAddPathIsQuick(t *testing.T) {
	x := open(t, options(t, matrix.X8664Linux))
	dir := t.TempDir()
	for i := range 5000 {
		sub := filepath.Join(dir, fmt.Sprint(i%50))
		if err := errors.Join(os.MkdirAll(sub, 0o755), os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), []byte(strings.Repeat("x", 2000)), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if _, err := x.AddPath(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	first := time.Since(start)
	start = time.Now()
	if _, err := x.AddPath(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("5000 files: %s, again %s", first, time.Since(start))
	if first > 10*time.Second {
		t.Errorf("adding 5000 files took %s", first)
	}
}

func TestEngineExportIsAStream(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 256 MB into the engine's store")
	}
	x := open(t, options(t, matrix.X8664Linux))
	out, err := x.Run(t.Context(), bash("cd /tmp && mkdir "+rand.Text()+" && cd */ && head -c 256M /dev/urandom >large && nix-store --add large"))
	if err != nil {
		t.Fatal(err)
	}
	var stream counter
	start := time.Now()
	if err := x.Export(t.Context(), &stream, []nix.StorePath{nix.StorePath(strings.TrimSpace(string(out)))}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MB in %s", stream.n/1_000_000, time.Since(start))
	if stream.n < 256<<20 {
		t.Errorf("%d bytes", stream.n)
	}
}
