package pipelines

import (
	"context"
	"errors"
	"path"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/derivations"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/sbom"
)

// writeProvenance states how the outputs were made. It has the hash of the manifest, which is written after it.
func (e ending) writeProvenance(ctx context.Context, f Results, m *run.Manifest, files []string) error {
	return e.Step(ctx, run.StepAttest, "", func() (string, error) {
		facts := f.Statements.Facts
		var err error
		if facts.Byproducts, err = f.byproducts(ctx, m, files); err != nil {
			return "", err
		}
		file, err := provenance.Write(ctx, f.Manifest.Dir, m, facts, f.Statements.Key)
		if errors.Is(err, provenance.ErrNoSubjects) {
			return "", run.Skipped("nothing was built here")
		}
		return file, err
	})
}

// byproducts returns the files that the run leaves beside the outputs, with their hashes.
func (f Results) byproducts(ctx context.Context, m *run.Manifest, files []string) ([]provenance.File, error) {
	out := f.Manifest.Dir
	manifest, err := encode(m)
	if err != nil {
		return nil, err
	}
	all := []provenance.File{{Name: f.Manifest.Base, MediaType: "application/json", Hash: provenance.HashBytes(manifest)}}
	add := func(name, kind string) {
		if err == nil {
			var file provenance.File
			file, err = provenance.HashFile(ctx, out, name, kind)
			all = append(all, file)
		}
	}
	for _, name := range files {
		kind := "application/json"
		if strings.HasPrefix(name, "sbom/") {
			kind = sbom.MediaType
		}
		add(name, kind)
	}
	for _, cell := range m.Cells {
		file := derivations.File(out, string(cell.System))
		if _, statErr := file.Dir.Stat(file.Base); statErr == nil && cell.Verdict != run.Served {
			add(path.Join(filepath.Base(file.Dir.Name()), file.Base), "application/zstd")
		}
	}
	return all, err
}
