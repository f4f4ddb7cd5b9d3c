package pipelines

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Republish pushes store objects that are there already: what an earlier run has left, or what a person names. Then it
// confirms them as a run does. Of the run, only Publish, Report and Now are used. It returns what it has made visible,
// also beside an error.
func (r *Release) Republish(ctx context.Context, infos []nix.PathInfo) (added []nix.Added, err error) {
	var done run.PublishResult
	err = r.Step(ctx, run.StepPush, "", func() (string, error) {
		var err error
		done, added, err = r.upload(ctx, "", infos, edgeHeld)
		if ctx.Err() == nil && !unavailable(err) {
			r.abortLeft(ctx)
		}
		if isConflict(err) {
			return "", err
		}
		if err != nil {
			return "", &PublishError{Cache: r.Publish.To.Name(), Err: err}
		}
		return done.String(), nil
	})
	if err != nil || r.Publish.Consumer == nil || len(infos) == 0 {
		return added, err
	}
	return added, r.Step(ctx, run.StepConfirm, "", func() (string, error) {
		c := newConfirmation(r.Publish.Consumer, rootsOf(infos), done.AddedPaths, infos)
		if err := r.untilConfirmed(ctx, c); err != nil {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			return "", &PublishError{Cache: r.Publish.To.Name(), Err: err}
		}
		return c.String(), nil
	})
}

// PinResumed pins what a release has left to be pinned, when all that it has left to be published is.
func (r *Release) PinResumed(ctx context.Context, j *Journal) error {
	pins := j.Pins()
	if len(pins) == 0 {
		return nil
	}
	return r.Step(ctx, run.StepPin, "", func() (string, error) {
		ctx, stop := WithTimeout(ctx, r.Publish.Timeout, "push-timeout")
		defer stop()
		made := 0
		for _, name := range slices.Sorted(maps.Keys(pins)) {
			later, err := j.pinnedLater(pinKey{r.Publish.To.Name(), name})
			if err != nil {
				return "", &PublishError{Cache: r.Publish.To.Name(), Err: fmt.Errorf("pin %s: %w", name, err)}
			}
			if later != "" {
				r.Warn("", "%s is not pinned: run %s, which is later than %s, has pinned it", name, later, j.run)
				continue
			}
			if err := r.Publish.To.Pin(ctx, name, pins[name]); err != nil {
				return "", &PublishError{Cache: r.Publish.To.Name(), Err: fmt.Errorf("pin %s: %w", name, err)}
			}
			if err := notePin(j.record, pinKey{r.Publish.To.Name(), name}, j.run); err != nil {
				return "", err
			}
			made++
		}
		return run.Count(made, "pin"), nil
	})
}

// rootsOf returns the objects that no other refers to: the outputs that somebody wants to be published. Where they are
// many, a cache is mirrored, and none of them is an output more than the others.
func rootsOf(infos []nix.PathInfo) map[nix.StorePath]string {
	roots := make(map[nix.StorePath]string)
	for _, i := range infos {
		roots[i.Path] = "what was pushed"
	}
	for _, i := range infos {
		for _, reference := range i.References {
			if reference != i.Path {
				delete(roots, reference)
			}
		}
	}
	if len(roots) > maxRoots {
		return nil
	}
	return roots
}
