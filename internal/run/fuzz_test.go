package run

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// A manifest is read or refused. If it is read, its names and paths are valid, it can be joined, and it is the same after
// writing and reading it again.
func FuzzManifest(f *testing.F) {
	recorded, err := os.ReadFile("../provenance/testdata/manifest.json")
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
