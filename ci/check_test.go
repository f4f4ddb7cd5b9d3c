package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The program pushes to, and fetches from, the cache that the flake names for its consumers.
func TestFlakesCacheIsUsed(t *testing.T) {
	c := defaultProject.Contract.NixConfig
	if !slices.Contains(c.Substituters, defaultProject.ServedBy) {
		t.Errorf("the contract's substituters %q lack the project's cache %s", c.Substituters, defaultProject.ServedBy)
	}
	for _, key := range c.Keys {
		if !slices.Contains(defaultProject.TrustedKeys, key) {
			t.Errorf("the project's keys %q lack the contract's %s", defaultProject.TrustedKeys, key)
		}
	}
	if defaultProject.Contract.Strict || !exampleProject.Contract.Strict {
		t.Error("want the example alone held strictly")
	}
}

// BenchmarkCheck measures a warm check of the example on the host engine, for each system, with and without its contract.
func BenchmarkCheck(b *testing.B) {
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		b.Skip("needs Nix and root: apt-get install nix-bin")
	}
	dir := b.TempDir()
	b.Cleanup(func() { makeWritable(dir) })
	environ := append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir, "NIX_REMOTE=local?root="+filepath.Join(dir, "store"))
	for _, s := range matrix.DefaultSystems() {
		for _, mode := range []string{off, enforce} {
			args := []string{"check", "example", "--engine", "host", "--system", string(s), "--contract", mode, "--out", filepath.Join(dir, "out")}
			check := func() {
				var log bytes.Buffer
				if code := execute(b.Context(), args, process{stdout: &log, stderr: &log, environ: environ}); code != exitOK {
					b.Fatalf("exit code %d:\n%s", code, &log)
				}
			}
			b.Run(string(s)+"/"+mode, func(b *testing.B) {
				check() // warm
				for b.Loop() {
					check()
				}
			})
		}
	}
}
