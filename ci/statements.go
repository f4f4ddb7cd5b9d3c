package main

import (
	"context"
	"errors"
	"path"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/derivations"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/sbom"
)

// writeStatements writes what a run leaves beside its manifest: a bill of materials for each output, and the provenance of all.
func writeStatements(ctx context.Context, sys process, o options, m *run.Manifest, cache sbom.Cache) error {
	bills, err := sbom.Write(ctx, o.out, m, cache)
	if err != nil {
		return err
	}
	facts := provenance.Facts{Settings: m.Settings, Inputs: m.Inputs}
	facts.Builder, facts.Invocation = sys.job().Workflow(), sys.job().RunPage()
	if facts.Byproducts, err = byproducts(ctx, o.out, m, bills); err != nil {
		return err
	}
	_, err = provenance.Write(ctx, o.out, m, facts, o.provenanceKey)
	if errors.Is(err, provenance.ErrNoSubjects) {
		return nil // all was served, or nothing was built
	}
	return err
}

// byproducts are the files that a run has left beside its outputs, with their hashes.
func byproducts(ctx context.Context, out *regular.Dir, m *run.Manifest, bills []string) (all []provenance.File, err error) {
	kinds := map[string]string{"manifest.json": "application/json"}
	names := append([]string{"manifest.json"}, bills...)
	for _, bill := range bills {
		kinds[bill] = sbom.MediaType
	}
	for _, cell := range m.Cells {
		file := derivations.File(out, string(cell.System))
		if _, err := file.Dir.Stat(file.Base); err == nil && cell.Verdict != run.Served {
			name := path.Join(filepath.Base(file.Dir.Name()), file.Base)
			names = append(names, name)
			kinds[name] = "application/zstd"
		}
	}
	for _, name := range names {
		f, err := provenance.HashFile(ctx, out, name, kinds[name])
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// maxKey is more than any key: one has about a hundred bytes.
const maxKey = 64 << 10

// readProvenanceKey reads the key that statements are signed with.
func readProvenanceKey(file string) (*provenance.SecretKey, error) {
	text, err := regular.Read(file, maxKey)
	if err != nil {
		return nil, err
	}
	return provenance.ParseSecretKey(text)
}
