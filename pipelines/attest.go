package pipelines

import (
	"context"
	"errors"
	"path"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/derivations"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/sbom"
)

// writeProvenance states how the outputs were made. It has the hash of the manifest, which is written after it.
func (r *Release) writeProvenance(ctx context.Context, m *run.Manifest, bills []string) error {
	return r.Step(ctx, run.StepAttest, "", func() (string, error) {
		facts := r.Results.Statements.Facts
		var err error
		if facts.Byproducts, err = r.byproducts(ctx, m, bills); err != nil {
			return "", err
		}
		file, err := provenance.Write(ctx, r.Results.Manifest.Dir, m, facts, r.Results.Statements.Key)
		if errors.Is(err, provenance.ErrNoSubjects) {
			return "", run.Skipped("nothing was built here")
		}
		return file, err
	})
}

// byproducts returns the files that the run leaves beside the outputs, with their hashes.
func (r *Release) byproducts(ctx context.Context, m *run.Manifest, bills []string) ([]provenance.File, error) {
	out := r.Results.Manifest.Dir
	manifest, err := encode(m)
	if err != nil {
		return nil, err
	}
	all := []provenance.File{{Name: r.Results.Manifest.Base, MediaType: "application/json", Hash: provenance.HashBytes(manifest)}}
	add := func(name, kind string) {
		if err == nil {
			var f provenance.File
			f, err = provenance.HashFile(ctx, out, name, kind)
			all = append(all, f)
		}
	}
	for _, bill := range bills {
		add(bill, sbom.MediaType)
	}
	for _, cell := range m.Cells {
		file := derivations.File(out, string(cell.System))
		if _, statErr := file.Dir.Stat(file.Base); statErr == nil && cell.Verdict != run.Served {
			add(path.Join(filepath.Base(file.Dir.Name()), file.Base), "application/zstd")
		}
	}
	return all, err
}
