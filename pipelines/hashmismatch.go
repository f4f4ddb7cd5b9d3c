package pipelines

import (
	"errors"
	"path"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// locateHashMismatch copies the failed downloads and wrong hashes of a build error into the result. It adds to the error
// the lines of the flake that have wrong hashes, as they should be.
func (r *Release) locateHashMismatch(c *cell, err error) error {
	var failed *BuildError
	if !errors.As(err, &failed) {
		return err
	}
	c.result.Downloads = failed.Downloads
	if len(failed.Mismatches) == 0 {
		return err
	}
	for _, m := range failed.Mismatches {
		m = m.Locate(flakeDir(c.snapshot))
		c.result.Mismatches = append(c.result.Mismatches, m)
		fromRoot := m // annotations have the path from the root of the tree
		fromRoot.Positions = slices.Clone(m.Positions)
		for i := range fromRoot.Positions {
			fromRoot.Positions[i].File = path.Join(c.snapshot.Subdir, fromRoot.Positions[i].File)
		}
		r.Event(run.HashWrong{System: c.System, Mismatch: fromRoot})
		if len(m.Positions) == 0 {
			err = hint.Wrap(err, "no file of the flake holds %s, which should be %s", m.Specified, m.Got)
		}
		for _, p := range m.Positions {
			err = hint.Wrap(err, "%s: %s", p, p.Text)
		}
	}
	if r.FixHint == "" {
		return err
	}
	return hint.Wrap(err, "%s", r.FixHint)
}
