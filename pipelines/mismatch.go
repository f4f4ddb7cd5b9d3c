package pipelines

import (
	"errors"
	"path"
	"path/filepath"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// pointOut notes the downloads of a failed build that failed, and adds to it, for each wrong hash, the lines of the flake
// that hold it, as they should be.
func (r *Release) pointOut(s run.Snapshot, result *run.CellResult, err error) error {
	var failed *BuildError
	if !errors.As(err, &failed) {
		return err
	}
	result.Downloads = failed.Downloads
	if len(failed.Mismatches) == 0 {
		return err
	}
	for _, m := range failed.Mismatches {
		m = m.Locate(flakeDir(s))
		result.Mismatches = append(result.Mismatches, m)
		r.Event(run.HashWrong{System: result.System, Mismatch: fromRoot(s, m)})
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

// fromRoot names the places of a wrong hash as an annotation wants them: from the root of the tree.
func fromRoot(s run.Snapshot, m contract.Mismatch) contract.Mismatch {
	m.Positions = slices.Clone(m.Positions)
	for i := range m.Positions {
		m.Positions[i].File = path.Join(s.Subdir, m.Positions[i].File)
	}
	return m
}

// flakeDir is the flake's directory on this machine.
func flakeDir(s run.Snapshot) string { return filepath.Join(s.Dir, filepath.FromSlash(s.Subdir)) }
