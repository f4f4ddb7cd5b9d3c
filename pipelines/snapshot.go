package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Taken is a snapshot that was taken before the run, because its tree has settings of the run.
type Taken struct {
	Snapshot     run.Snapshot
	Err          error
	Began, Ended time.Time
}

// Take takes the snapshot of a source.
func Take(ctx context.Context, source Source, now func() time.Time) *Taken {
	t := &Taken{Began: now()}
	t.Snapshot, t.Err = source.Snapshot(ctx)
	t.Ended = now()
	return t
}

// beginning returns when the run began.
func (j *Job) beginning() time.Time {
	if j.Taken != nil {
		return j.Taken.Began
	}
	return j.Now()
}

// takeSnapshot takes the tree of the flake.
func (j *Job) takeSnapshot(ctx context.Context) (s run.Snapshot, err error) {
	recorder, take := *j.Recorder, func() (run.Snapshot, error) { return j.Source.Snapshot(ctx) }
	if t := j.Taken; t != nil { // the events have the times at which it was taken
		at := t.Began
		recorder.Now = func() time.Time { return at }
		take = func() (run.Snapshot, error) { at = t.Ended; return t.Snapshot, t.Err }
	}
	err = recorder.Step(ctx, run.StepSnapshot, "", func() (string, error) {
		if s, err = take(); err != nil {
			return "", err
		}
		for _, o := range j.Overrides {
			if s.Overrides == nil {
				s.Overrides = map[string]string{}
			}
			s.Overrides[o.Input] = o.Ref
		}
		if len(s.LeftOut) > 0 {
			return fmt.Sprintf("%s, without the results in %s", s.URL, strings.Join(s.LeftOut, ", ")), nil
		}
		return s.URL, nil
	})
	if err == nil && s.Dirty {
		j.Warn("", "the tree has uncommitted changes: what is built is not what consumers get, and is never published")
	}
	return s, err
}

// flakeDir is the flake's directory on this machine.
func flakeDir(s run.Snapshot) string { return filepath.Join(s.Dir, filepath.FromSlash(s.Subdir)) }

// unlocked returns why no consumer can lock the flake to this tree; empty if they can. The tree and its inputs need a
// commit or the hash of an archive, except for inputs in the tree.
func unlocked(s run.Snapshot) string {
	lock, err := flake.ReadLock(flakeDir(s))
	if errors.Is(err, fs.ErrNotExist) {
		return "" // evaluation refuses a flake with inputs and without a lock
	}
	if err != nil {
		return fmt.Sprintf("the locks of the inputs are unknown: %v", err)
	}
	if names := lock.Unlocked(); len(names) > 0 {
		return "not locked: " + strings.Join(names, ", ") + ": it may change at any time"
	}
	return ""
}

// lockedInputs returns the locked inputs of the flake. If the lock cannot be read, evaluation has failed before.
func (j *Job) lockedInputs(s run.Snapshot) []flake.Input {
	lock, err := flake.ReadLock(flakeDir(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a flake without inputs needs no lock
	}
	var inputs []flake.Input
	if err == nil {
		inputs, err = lock.Inputs(func(name string) bool { _, ok := s.Overrides[name]; return ok })
	}
	if err != nil {
		j.Warn("", "list inputs in the manifest: %v", err)
	}
	return inputs
}

// definition returns the line of the flake that defines a package, from a position of Nix:
// "/nix/store/…-source/nix/package.nix:12". It is nil if an input defines the package.
func definition(s run.Snapshot, position string) *run.Line {
	source, err := nix.SourcePath(s.NARHash)
	if err != nil {
		return nil
	}
	_, own, found := strings.Cut(position, string(source)+"/") // a store below another root has that root before it
	if !found {
		return nil
	}
	return positionOf(s, own)
}

// positionOf returns the line of a position of [nix.EvalError] in the flake's own files: "nix/package.nix:12:3".
func positionOf(s run.Snapshot, position string) *run.Line {
	file, rest, _ := strings.Cut(position, ":")
	line, _, _ := strings.Cut(rest, ":")
	return run.LineIn(s, file, line)
}
