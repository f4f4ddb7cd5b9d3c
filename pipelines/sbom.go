package pipelines

import (
	"context"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/sbom"
)

// writeBills writes a bill of materials for each output, and returns the names of the files.
func (r *Release) writeBills(ctx context.Context, m *run.Manifest) (files []string, err error) {
	err = r.Step(ctx, run.StepSBOM, "", func() (string, error) {
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
