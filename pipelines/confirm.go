package pipelines

import (
	"context"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// confirm looks whether what was built is where it should be: it reads back what was exported, as one who substitutes
// from the store would, and asks the public side of the cache for what was pushed.
func (r *Release) confirm(ctx context.Context, cell matrix.Cell, result *run.CellResult, built []nix.PathInfo, added []nix.Added, pushed []nix.PathInfo) error {
	if len(built) == 0 && len(pushed) == 0 && !result.Published() {
		return nil // nothing was touched
	}
	return r.Step(ctx, run.StepConfirm, cell.System, func() (string, error) {
		var found []string
		if len(built) > 0 {
			text, err := r.confirmExported(ctx, built, added)
			if err != nil {
				return "", err
			}
			found = append(found, text)
		}
		if result.Published() && r.Publish.Confirm {
			text, err := r.Publish.ConfirmCell(ctx, result, pushed)
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

// confirmExported reads back what was written.
func (r *Release) confirmExported(ctx context.Context, closure []nix.PathInfo, added []nix.Added) (string, error) {
	missing, err := r.Store.Missing(ctx, pathsOf(closure))
	if err != nil {
		return "", err
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("confirm %s: %d of %d paths are not there, such as %s", r.Store.Name(), len(missing), len(closure), missing[0])
	}
	paths := make([]nix.StorePath, len(added))
	for i, a := range added {
		paths[i] = a.Path
	}
	if err := r.Store.Verify(ctx, paths); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s there, %d read back", run.Count(len(closure), "path"), len(added)), nil
}
