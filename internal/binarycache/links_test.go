package binarycache

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A cache can come with a checkout. Links in it are not followed: no file is written, removed or read through a link.
func TestLinksInACacheAreNotFollowed(t *testing.T) {
	old := time.Now().Add(-2 * leftoverAge)
	for _, name := range []string{".", incomingDir, narDir} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			victim := filepath.Join(home, "victim")
			cache := filepath.Join(home, "out", "cache")
			if err := errors.Join(
				os.MkdirAll(filepath.Join(victim, "import-photos"), 0o755),
				os.WriteFile(filepath.Join(victim, "import-letter"), nil, 0o644),
				os.Chtimes(filepath.Join(victim, "import-photos"), old, old), os.Chtimes(filepath.Join(victim, "import-letter"), old, old),
				os.MkdirAll(filepath.Dir(filepath.Join(cache, name)), 0o755),
				os.Symlink(victim, filepath.Join(cache, name)),
			); err != nil {
				t.Fatal(err)
			}
			d, err := Open(cache)
			if err == nil {
				_, err = d.Import(t.Context(), bytes.NewReader(nil))
				t.Errorf("it is opened; import: %v", err)
			}
			entries, err := os.ReadDir(victim)
			if err != nil || len(entries) != 2 {
				t.Errorf("where the link leads to, there is %v, %v", entries, err)
			}
		})
	}
}

// In the directory for incoming files, only old work directories of this program are removed. Links in them are not followed.
func TestSweepRemovesOnlyWorkDirectories(t *testing.T) {
	home := t.TempDir()
	cache := filepath.Join(home, "cache")
	at := func(name string) string { return filepath.Join(cache, incomingDir, name) }
	if err := errors.Join(
		os.MkdirAll(at("import-DEAD/x"), 0o755), os.MkdirAll(at("import-NEW"), 0o755), os.MkdirAll(at("123"), 0o755),
		os.WriteFile(at("import-file"), nil, 0o644), os.WriteFile(at("notes"), nil, 0o644),
		os.WriteFile(filepath.Join(home, "precious"), nil, 0o644), os.Symlink(home, at("import-DEAD/x/link")), os.Symlink(home, at("import-link")),
	); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * leftoverAge)
	for _, name := range []string{"import-DEAD", "123", "import-file", "notes"} {
		if err := os.Chtimes(at(name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(cache); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{at("import-NEW"), at("123"), at("import-file"), at("notes"), at("import-link"), filepath.Join(home, "precious")} {
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(at("import-DEAD")); err == nil {
		t.Error("the directory of a killed run is not removed")
	}
}
