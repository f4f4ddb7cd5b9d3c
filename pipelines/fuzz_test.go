package pipelines

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// A manifest is read or refused. One that is read has names and paths that were parsed, can be joined, and stays the same
// where it is written and read again.
func FuzzManifest(f *testing.F) {
	recorded, err := os.ReadFile("../internal/provenance/testdata/manifest.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(recorded)
	f.Add([]byte(`{"version": 1, "cells": [{"system": "x86_64-linux", "packages": [{"package": "a", "outputs": [{"path": "/nix/store/"}]}]}]}`))
	f.Add([]byte(`{"version": 1, "source": {"overrides": {"a": "path:/"}}, "cells": [{"system": "x86_64-linux", "publish": {"cache": "c"}}]}`))
	f.Add([]byte(`{"version": 2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data)
		if err != nil {
			return
		}
		for _, cell := range m.Cells {
			if _, err := matrix.ParseSystem(string(cell.System)); err != nil {
				t.Error(err)
			}
			for _, p := range cell.Packages {
				if _, err := matrix.ParsePackage(string(p.Package)); err != nil {
					t.Error(err)
				}
				for _, o := range p.Outputs {
					if _, err := nix.ParseStorePath(string(o.Path)); err != nil {
						t.Error(err)
					}
				}
			}
		}
		_, _ = Join([]*Manifest{m})
		written, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseManifest(written)
		if err != nil {
			t.Fatalf("it is not read again: %v\n%s", err, written)
		}
		if rewritten, err := json.Marshal(again); err != nil || !bytes.Equal(rewritten, written) {
			t.Errorf("%s\nis read and written as\n%s, %v", written, rewritten, err)
		}
	})
}

// A journal is read or refused, and has nothing but store paths in it.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"version": 1, "entries": [{"system": "x86_64-linux", "cache": "c", "paths": ["/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-hello"]}]}`))
	f.Add([]byte(`{"version": 1, "entries": [{"cache": "../x", "paths": ["/etc/passwd", "--option"]}]}`))
	f.Add([]byte(`{"version": 2, "entries": null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parseJournal(data)
		if err != nil {
			return
		}
		j := &Journal{entries: file.Entries}
		if len(j.Caches()) != len(j.Entries()) {
			t.Errorf("%d caches of %d entries", len(j.Caches()), len(j.Entries()))
		}
		for _, e := range j.Entries() {
			for _, p := range e.Paths {
				if _, err := nix.ParseStorePath(string(p)); err != nil {
					t.Error(err)
				}
			}
		}
		for _, p := range file.Pins {
			if _, err := nix.ParseStorePath(string(p)); err != nil {
				t.Error(err)
			}
		}
	})
}
