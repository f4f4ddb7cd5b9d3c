package binarycache

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Verify reads store objects back and compares them with what their narinfo files promise:
// hash and size of the file and of the NAR in it, and that all references are here.
// All paths are looked at; the error has one line for each that is not as it should be, in the order given.
// One that is absent is an [ErrNotFound].
func (d *Dir) Verify(ctx context.Context, paths []nix.StorePath) error {
	errs := make([]error, len(paths))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, path := range paths {
		group.Go(func() error {
			if err := d.verify(ctx, path); err != nil && ctx.Err() == nil {
				err = fmt.Errorf("verify %s in %s: %w", path, d.name, err)
				if !errors.Is(err, ErrNotFound) {
					err = hint.Wrap(err, "remove %s and run the command again: it is then packed anew", d.file(infoName(path)))
				}
				errs[i] = err
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("verify binary cache %s: %w", d.name, context.Cause(ctx))
	}
	return errors.Join(errs...)
}

func (d *Dir) verify(ctx context.Context, path nix.StorePath) error {
	e, err := d.check(ctx, path)
	if err != nil {
		return err
	}
	for _, ref := range e.Info.References {
		switch has, err := d.has(ref); {
		case err != nil:
			return err
		case !has:
			return fmt.Errorf("its reference %s is not in the cache", ref)
		}
	}
	return nil
}
