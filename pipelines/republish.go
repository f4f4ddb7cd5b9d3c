package pipelines

import (
	"context"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Republish pushes store objects that are there already: what an earlier run has left, or what a person names.
// It is the step push alone; of the run, only Publish, Report and Now are used. It returns what it has made visible, also beside an error.
func (r *Release) Republish(ctx context.Context, infos []nix.PathInfo) (added []nix.Added, err error) {
	err = r.step(ctx, StepPush, "", func() (string, error) {
		var done PublishResult
		var err error
		done, added, err = r.upload(ctx, "", infos, edgeHeld)
		if isConflict(err) {
			return "", err
		}
		if err != nil {
			return "", &PublishError{Cache: r.Publish.To.Name(), Err: err}
		}
		return done.String(), nil
	})
	return added, err
}
