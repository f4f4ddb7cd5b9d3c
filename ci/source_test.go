package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
)

// A manifest of an earlier version, with "…" for a secret in the URL of an input, can be repeated. An edited one cannot.
func TestInputsOfAnEarlierManifestAreAccepted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const lock = `{"nodes": {"root": {"inputs": {"a": "a"}}, "a": {"locked": {"type": "tarball", "narHash": "sha256-a",
		"url": "https://example.org/a.tar.gz?token=secret&x=1"}}}, "root": "root", "version": 7}`
	if err := os.WriteFile(filepath.Join(dir, "flake.lock"), []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, isSame := range map[string]bool{
		"tarball+https://example.org/a.tar.gz?token=…&x=1": true,
		"tarball+https://example.org/a.tar.gz?x=1":         true,
		"tarball+https://example.org/b.tar.gz?x=1":         false,
	} {
		source := recordedSource{inputs: []flake.Input{{Name: "a", URL: url, NARHash: "sha256-a"}}}
		if err := source.checkInputs(flake.Snapshot{Dir: dir}); (err == nil) != isSame {
			t.Errorf("%s: error %v", url, err)
		}
	}
}
