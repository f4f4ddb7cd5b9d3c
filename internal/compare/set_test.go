package compare

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

const storePrefix = "/nix/store/0000000000000000000000000000000"

// cacheOf writes a binary cache. Each store object is a file with a text.
func cacheOf(t *testing.T, dir string, objects map[string]string) {
	t.Helper()
	var stream []byte
	for path, text := range objects {
		stream = binary.LittleEndian.AppendUint64(stream, 1)
		stream = append(stream, fileNAR([]byte(text))...)
		stream = binary.LittleEndian.AppendUint64(stream, 0x4558494e)
		stream = append(stream, narWords(path)...)
		stream = binary.LittleEndian.AppendUint64(stream, 0) // references
		stream = append(stream, narWords("")...)             // deriver
		stream = binary.LittleEndian.AppendUint64(stream, 0) // signature
	}
	stream = binary.LittleEndian.AppendUint64(stream, 0)
	cache, err := binarycache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Import(t.Context(), bytes.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
}

func comparePaths(t *testing.T, a, b string) (*Report, error) {
	t.Helper()
	left, err := Open(t.Context(), a)
	if err != nil {
		return nil, err
	}
	right, err := Open(t.Context(), b)
	if err != nil {
		return nil, err
	}
	return Compare(t.Context(), left, right, Options{})
}

func verdicts(r *Report) []string {
	var all []string
	for _, o := range r.Outputs {
		all = append(all, o.Name+": "+string(o.Verdict))
	}
	return all
}

// Two caches are compared path by path, and contents only where hashes differ.
func TestCaches(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	cacheOf(t, a, map[string]string{storePrefix + "1-same": "text", storePrefix + "2-time": "b\na\n", storePrefix + "3-left": "x"})
	cacheOf(t, b, map[string]string{storePrefix + "1-same": "text", storePrefix + "2-time": "a\nb\n", storePrefix + "4-right": "y"})
	r, err := comparePaths(t, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"left: only in A", "same: same", "time: different", "right: only in B"}; !slices.Equal(verdicts(r), want) {
		t.Errorf("verdicts %q, want %q", verdicts(r), want)
	}
	o := r.Outputs[2]
	if len(o.Differences) != 1 || !slices.Equal(o.Differences[0].Causes, []Cause{Ordering}) || o.NARHashA == o.NARHashB {
		t.Errorf("%+v", o)
	}
	if r.Outputs[1].Files != 0 {
		t.Error("contents were read although the hashes are the same")
	}
	var differ *DifferenceError
	if err := r.Err(); !errors.As(err, &differ) || differ.Differing != 3 || differ.Outputs != 4 {
		t.Errorf("error %v", err)
	}
	if r, err := comparePaths(t, a, a); err != nil || !r.Same || r.Err() != nil || r.Headline() != "same: 3 outputs, by hash" {
		t.Errorf("%+v, %v", r, err)
	}
}

// A cache with a missing or wrong NAR proves nothing about a build: the result is an error, not a verdict.
func TestDamagedCaches(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	cacheOf(t, whole, map[string]string{storePrefix + "1-x": "one"})
	for name, test := range map[string]struct {
		damage     func(t *testing.T, dir string, nar string)
		want, hint string
	}{
		"lost":     {func(t *testing.T, dir, nar string) { remove(t, nar) }, "no such file or directory", "the file is missing in the cache"},
		"emptied":  {func(t *testing.T, dir, nar string) { writeFile(t, nar, "") }, "not what its narinfo states", ""},
		"not zstd": {func(t *testing.T, dir, nar string) { writeFile(t, nar, "hello, this is text") }, "magic number mismatch", ""},
		"cut info": {func(t *testing.T, dir, nar string) {
			writeFile(t, filepath.Join(dir, strings.Repeat("0", 31)+"1.narinfo"), "StorePath: ")
		}, "narinfo", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "damaged")
			cacheOf(t, dir, map[string]string{storePrefix + "1-x": "another"})
			nars, err := filepath.Glob(filepath.Join(dir, "nar/*"))
			if err != nil || len(nars) != 1 {
				t.Fatalf("%q, %v", nars, err)
			}
			test.damage(t, dir, nars[0])
			_, err = comparePaths(t, whole, dir)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, test.hint) {
				t.Errorf("hints %q, want %q", hints, test.hint)
			}
		})
	}
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

const manifestText = `{"version": 1, "tool": "t", "started": "2026-11-25T04:00:00Z", "finished": "2026-11-25T05:00:00Z", "source": {"url": "github:o/r/1", "narHash": "sha256-x", "lastModified": 1},
"cells": [{"system": "x86_64-linux", "engine": {"kind": "KIND"}, "packages": [
	{"package": "p", "outputs": [{"name": "out", "path": "PATH", "narHash": "HASH"}, {"name": "dev", "path": "` + storePrefix + `9-p-dev"}]}]}]}`

// runOf writes the results of a run: a manifest, and the cache beside it.
func runOf(t *testing.T, kind, text string) string {
	t.Helper()
	dir := t.TempDir()
	path := nix.StorePath(storePrefix + "1-p")
	cacheOf(t, filepath.Join(dir, "cache"), map[string]string{string(path): text})
	cache, err := binarycache.OpenReadOnly(filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := cache.Info(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "manifest.json"), strings.NewReplacer("KIND", kind, "PATH", string(path), "HASH", info.NARHash.SRI()).Replace(manifestText))
	return dir
}

// Two manifests are compared by package, system and output. An output without a hash is unknown.
func TestManifests(t *testing.T) {
	a, b := runOf(t, "host", "made 2026-11-25\n"), runOf(t, "dagger", "made 2026-11-24\n")
	r, err := comparePaths(t, a, filepath.Join(b, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"p: different", "p.dev: unknown"}; !slices.Equal(verdicts(r), want) {
		t.Errorf("verdicts %q, want %q", verdicts(r), want)
	}
	if causes := r.Outputs[0].Differences[0].Causes; !slices.Equal(causes, []Cause{Timestamp}) {
		t.Errorf("causes %q", causes)
	}
	if want := []Field{{"x86_64-linux engine.kind", "host", "dagger"}}; !slices.Equal(r.Source, want) {
		t.Errorf("source %+v, want %+v", r.Source, want)
	}
	// An unknown output is not a difference, and not a pass.
	r, err = comparePaths(t, a, a)
	var differ *DifferenceError
	if err != nil || r.Same || r.Err() == nil || errors.As(r.Err(), &differ) || !strings.Contains(r.Err().Error(), "1 of 2 outputs are unknown") {
		t.Errorf("%+v, %v", r, err)
	}
	// A tree cannot be compared with a set of outputs. A manifest can be compared with a cache.
	if _, err := comparePaths(t, a, t.TempDir()); !errors.Is(err, ErrMixed) {
		t.Errorf("error %v", err)
	}
	if r, err := comparePaths(t, a, filepath.Join(b, "cache")); err != nil || r.Outputs[0].Verdict != Different {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := comparePaths(t, a, filepath.Join(a, "nothing")); !errors.Is(err, ErrNothing) {
		t.Errorf("error %v", err)
	}
}

// Two trees are builds of one derivation if their names have the same digest.
func TestSameDerivationByName(t *testing.T) {
	const digest = "0000000000000000000000000000000"
	for _, test := range []struct {
		a, b string
		want int
	}{
		{digest + "1-a", digest + "1-a.check", 1},
		{digest + "1-a.first", digest + "1-a.second", 1},
		{digest + "1-a", digest + "2-a", 0},
		{"a", "b", 0},
	} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, test.a), "b\na\n")
		writeFile(t, filepath.Join(dir, test.b), "a\nb\n")
		r, err := comparePaths(t, filepath.Join(dir, test.a), filepath.Join(dir, test.b))
		if err != nil || len(r.Outputs[0].Differences[0].Causes) != test.want {
			t.Errorf("%s and %s: %+v, %v", test.a, test.b, r, err)
		}
	}
}
