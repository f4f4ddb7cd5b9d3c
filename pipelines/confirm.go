package pipelines

import (
	"context"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// confirm reads back what was exported, as a substitution from the store does, and asks the public side of the cache for
// what was pushed.
func (r *Release) confirm(ctx context.Context, c *cell, pushed []nix.PathInfo) error {
	if len(c.closure) == 0 && len(pushed) == 0 && !c.result.Published() {
		return nil
	}
	return r.Step(ctx, run.StepConfirm, c.System, func() (string, error) {
		var found []string
		if len(c.closure) > 0 {
			text, err := r.confirmExported(ctx, c)
			if err != nil {
				return "", err
			}
			found = append(found, text)
		}
		if c.result.Published() && r.Publish.Confirm {
			text, err := r.Publish.ConfirmCell(ctx, &c.result, pushed)
			if err != nil {
				return "", err
			}
			found = append(found, text)
		}
		if len(found) == 0 {
			return "", run.Skipped("nothing was built")
		}
		return strings.Join(found, "; "), nil
	})
}

// confirmExported reads back what was exported.
func (r *Release) confirmExported(ctx context.Context, c *cell) (string, error) {
	missing, err := r.Store.Missing(ctx, nix.PathsOf(c.closure))
	if err != nil {
		return "", err
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("confirm %s: %d of %d paths are not there, such as %s", r.Store.Name(), len(missing), len(c.closure), missing[0])
	}
	paths := make([]nix.StorePath, len(c.added))
	for i, a := range c.added {
		paths[i] = a.Path
	}
	if err := r.Store.Verify(ctx, paths); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s there, %d read back", run.Count(len(c.closure), "path"), len(c.added)), nil
}
