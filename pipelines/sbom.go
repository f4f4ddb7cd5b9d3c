package pipelines

import (
	"context"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/sbom"
)

// writeBills writes a bill of materials for each output, and returns the names of the files.
func (e ending) writeBills(ctx context.Context, f Results, m *run.Manifest) (files []string, err error) {
	err = e.Step(ctx, run.StepSBOM, "", func() (string, error) {
		if files, err = sbom.Write(ctx, f.Manifest.Dir, m, e.store); err != nil {
			return "", err
		}
		if len(files) == 0 {
			return "", run.Skipped("the store has no output of the run")
		}
		return run.Count(len(files), "bill") + " of materials", nil
	})
	return files, err
}
