package pipelines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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
		if result.Published() && r.Publish.Consumer != nil {
			text, err := r.confirmPublished(ctx, cell, result, pushed)
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

// confirmPublished asks the public side for what was pushed, until it has all or the patience is at its end.
func (r *Release) confirmPublished(ctx context.Context, cell matrix.Cell, result *run.CellResult, closure []nix.PathInfo) (string, error) {
	outputs := map[nix.StorePath]string{}
	for _, p := range result.Packages {
		if p.Verdict == run.Failed {
			continue
		}
		for _, path := range p.OutputPaths() {
			outputs[path] = fmt.Sprintf("%s of %s", p.Package, cell.System)
		}
	}
	c := newConfirmation(r.Publish.Consumer, outputs, result.Publish.AddedPaths, closure)
	err := r.untilConfirmed(ctx, c)
	for i := range result.Packages {
		p := &result.Packages[i]
		switch {
		case p.Verdict == run.Failed:
		case c.allSeen(p.OutputPaths()):
			p.Consumer = run.Visible
		default:
			p.Consumer = run.NotVisible
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // it is the run that has ended, for a reason of its own
		}
		result.Publish.Verdict, result.Publish.Reason = run.Unconfirmed, nix.FirstLine(err.Error())
		return "", &PublishError{System: cell.System, Cache: r.Publish.To.Name(), Err: err}
	}
	return c.String(), nil
}

// untilConfirmed looks until everything is seen. It gives up when nothing more was seen for as long as Patience, and
// looks once where that is 0.
func (r *Release) untilConfirmed(ctx context.Context, c *confirmation) error {
	p := r.Publish
	ctx, stop := WithTimeout(ctx, p.Timeout, "push-timeout")
	defer stop()
	patience := cmp.Or(p.Patience, lookTimeout)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(patience, func() { cancel(fmt.Errorf("nothing more was seen for %s (--confirm-timeout)", patience)) })
	defer timer.Stop()

	var last error // of a look that came to its end
	since, pause := r.Now(), time.Second
	for {
		more, err := c.look(ctx, func() { timer.Reset(patience) })
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errors.Join(last, fmt.Errorf("confirm %s: %w", c.consumer.Name(), context.Cause(ctx)))
		}
		last = err
		if more {
			since, pause = r.Now(), time.Second
		}
		if r.Now().Add(pause).After(since.Add(p.Patience)) {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
		pause = min(2*pause, 10*time.Second)
	}
}
