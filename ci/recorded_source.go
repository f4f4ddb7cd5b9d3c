package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// recordedSource takes the tree that a manifest is about, and no other. It implements [pipelines.Source].
type recordedSource struct {
	pipelines.Source
	want   flake.Snapshot
	inputs []flake.Input // of the manifest; empty where it names none
}

// Snapshot takes the tree, and compares its hash. What else evaluation depends on comes from the manifest: the same tree
// may come from elsewhere, where it has no commit, or another time.
func (p recordedSource) Snapshot(ctx context.Context) (flake.Snapshot, error) {
	s, err := p.Source.Snapshot(ctx)
	if err != nil {
		return s, hint.Wrap(err, "where the same tree is to be had elsewhere, such as in a clone: --source FLAKE; its NAR hash has to be %s", p.want.NARHash)
	}
	if s.NARHash != p.want.NARHash {
		err := fmt.Errorf("take source: its NAR hash is %s, and that of the manifest %s", s.NARHash, p.want.NARHash)
		switch {
		case p.want.Dirty:
			return s, hint.Wrap(err, "the run was made from a tree with uncommitted changes, which no longer exist, so it cannot be repeated; make one from a commit")
		case p.want.URL == exampleFlake:
			return s, hint.Wrap(err, "the built-in flake is another one in each version of this program: use the one that the manifest names as tool")
		}
		return s, hint.Wrap(err, "the files of %s have changed since, or the manifest was edited; --source FLAKE takes the tree from elsewhere", p.want.URL)
	}
	if err := p.checkInputs(s); err != nil {
		return s, err
	}
	s.URL, s.Rev, s.Subdir, s.Dirty = p.want.URL, p.want.Rev, p.want.Subdir, p.want.Dirty
	if s.LastModified != p.want.LastModified {
		s.LastModified = p.want.LastModified
		err = touch(s)
	}
	return s, err
}

// checkInputs compares the inputs of the manifest with the lock of the tree that it names. They are the same but for
// somebody who has edited the one, which is better known before anything is built.
func (p recordedSource) checkInputs(s flake.Snapshot) error {
	if len(p.inputs) == 0 {
		return nil
	}
	lock, err := flake.ReadLock(filepath.Join(s.Dir, filepath.FromSlash(p.want.Subdir)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the locks of the source: %v", err)
	}
	var inputs []flake.Input
	if err == nil {
		inputs, err = lock.Inputs(func(name string) bool { _, ok := p.want.Overrides[name]; return ok })
		if err != nil {
			return err
		}
	}
	if !slices.Equal(inputHashes(p.inputs), inputHashes(inputs)) {
		return hint.Wrap(errors.New("reproduce: the inputs in the manifest are not those of its source's flake.lock: it was edited"),
			"take the manifest from the run again")
	}
	return nil
}

func inputHashes(inputs []flake.Input) []string {
	var all []string
	for _, in := range inputs {
		all = append(all, in.Name+" "+in.URL+" "+in.NARHash)
	}
	slices.Sort(all)
	return all
}

// touch gives every file of a snapshot its time, as Nix looks for the newest.
func touch(s flake.Snapshot) error {
	t := s.ModTime()
	return filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(path, t, t)
	})
}
