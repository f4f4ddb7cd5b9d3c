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

// Statements configures the bills of materials and the provenance.
type Statements struct {
	Facts provenance.Facts      // about the machine; the run adds the others
	Key   *provenance.SecretKey // signs the provenance; nil for none
}

// writeBills writes a bill of materials for each output, and returns the names of the files.
func (r *Release) writeBills(ctx context.Context, m *run.Manifest) (files []string, err error) {
	err = r.Step(ctx, run.StepBills, "", func() (string, error) {
		if files, err = sbom.Write(ctx, r.Results.Manifest.Dir, m, r.Store); err != nil {
			return "", err
		}
		if len(files) == 0 {
			return "", run.Skipped("the store has no output of the run")
		}
		return run.Count(len(files), "bill") + " of materials", nil
	})
	return files, err
}

// writeProvenance states how the outputs were made. It has the hash of the manifest, so that it is written after that.
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

// byproducts returns the files that the run has written beside the outputs, with their hashes.
func (r *Release) byproducts(ctx context.Context, m *run.Manifest, bills []string) (all []provenance.File, err error) {
	out := r.Results.Manifest.Dir
	kinds := map[string]string{r.Results.Manifest.Base: "application/json"}
	names := append([]string{r.Results.Manifest.Base}, bills...)
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
