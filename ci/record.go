package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/sbom"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// record writes what a run leaves beside its manifest: a bill of materials for each output, and the provenance of all.
func record(ctx context.Context, sys system, o options, m *pipelines.Manifest) error {
	cache, err := binarycache.OpenReadOnly(filepath.Join(o.out, "cache"))
	if err != nil {
		return err
	}
	bills, err := sbom.Write(ctx, o.out, m, cache)
	if err != nil {
		return err
	}
	facts := provenance.Facts{Settings: m.Settings, Inputs: m.Inputs}
	actions := github{sys.environ}
	facts.Builder, facts.Invocation = actions.workflow(), actions.run()
	for _, file := range append([]string{"manifest.json"}, bills...) {
		kind := sbom.MediaType
		if file == "manifest.json" {
			kind = "application/json"
		}
		f, err := provenance.HashFile(o.out, file, kind)
		if err != nil {
			return err
		}
		facts.Byproducts = append(facts.Byproducts, f)
	}
	_, err = provenance.Write(ctx, o.out, m, facts, o.provenanceKey)
	if errors.Is(err, provenance.ErrNoSubjects) {
		return nil // all was served, or nothing was built
	}
	return err
}

// parseProvenanceKey reads the key that statements are signed with.
func (f *flags) parseProvenanceKey(o *options) error {
	if f.provenanceKey == "" {
		return nil
	}
	text, err := os.ReadFile(f.provenanceKey)
	if err == nil {
		o.provenanceKey, err = provenance.ParseSecretKey(text)
	}
	if err != nil {
		return fmt.Errorf("read --provenance-key: %v", err)
	}
	return nil
}
