package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// confirm looks whether what was built is where it should be: it reads back what was exported, as one who substitutes
// from the store would, and asks the public side of the cache for what was pushed.
func (r *Release) confirm(ctx context.Context, cell matrix.Cell, result *CellResult, built []nix.PathInfo, added []nix.Added, pushed []nix.PathInfo) error {
	if len(built) == 0 && len(pushed) == 0 && !result.published() {
		return nil // nothing was touched
	}
	return r.step(ctx, StepConfirm, cell.System, func() (string, error) {
		var found []string
		if len(built) > 0 {
			text, err := r.confirmExported(ctx, built, added)
			if err != nil {
				return "", err
			}
			found = append(found, text)
		}
		if result.published() && r.Publish.Consumer != nil {
			text, err := r.confirmPublished(ctx, cell, result, pushed)
			if err != nil {
				return "", err
			}
			found = append(found, text)
		}
		if len(found) == 0 {
			return "", skipped("nothing was built")
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
	return fmt.Sprintf("%s there, %d read back", count(len(closure), "path"), len(added)), nil
}

// confirmPublished asks the public side for what was pushed, until it has all or the patience is at its end.
func (r *Release) confirmPublished(ctx context.Context, cell matrix.Cell, result *CellResult, closure []nix.PathInfo) (string, error) {
	p, hits := r.Publish, 0
	err := r.until(ctx, p.Patience, func() (err error) {
		hits, err = r.consumed(ctx, cell, result.Packages, closure)
		return err
	})
	if err != nil {
		result.Publish.Verdict, result.Publish.Reason = Unconfirmed, nix.FirstLine(err.Error())
		return "", &PublishError{System: cell.System, Cache: p.To.Name(), Err: err}
	}
	return fmt.Sprintf("consumers get %s", count(hits, "output")), nil
}

// consumed looks once. Outputs are looked at as a consumer would; of the rest of their closures it is asked whether it is there.
func (r *Release) consumed(ctx context.Context, cell matrix.Cell, packages []PackageResult, closure []nix.PathInfo) (hits int, err error) {
	c := r.Publish.Consumer
	var errs []error
	for i := range packages {
		p := &packages[i]
		if p.Verdict == Failed {
			continue
		}
		p.Consumer = Hit
		for _, o := range p.Outputs {
			if err := c.Sees(ctx, o.Path); err != nil {
				p.Consumer = Miss
				errs = append(errs, fmt.Errorf("confirm %s of %s: %w", p.Package, cell.System, err))
				continue
			}
			hits++
		}
	}
	if len(errs) > 0 {
		return hits, errors.Join(errs...)
	}
	missing, err := c.Missing(ctx, pathsOf(closure))
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("confirm %s: %s of the closure not there, such as %s", c.Name(), count(len(missing), "path"), missing[0])
	}
	return hits, err
}

// until calls f until it succeeds or its time is up, with pauses that grow from one second.
func (r *Release) until(ctx context.Context, patience time.Duration, f func() error) error {
	deadline, pause := r.Now().Add(patience), time.Second
	for {
		err := f()
		if err == nil || ctx.Err() != nil || r.Now().Add(pause).After(deadline) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, 10*time.Second)
	}
}
