package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// revision returns the revision that the command line names, with --ref or in the flake reference.
func revision(text, ref string) string {
	parsed, err := flake.ParseRef(text)
	if ref != "" || err != nil {
		return ref
	}
	return parsed.Ref
}

// newSource returns the source of a flake reference, or of the flake that is built into this program. trees has the fields
// that all snapshots of the run share.
func newSource(process process, trees flake.Snapshotter, text, ref string) (pipelines.Source, error) {
	if text == exampleFlake {
		if ref != "" {
			return nil, usage(fmt.Errorf("take snapshot of %s: --ref goes with a flake under version control", exampleFlake))
		}
		return exampleSource(trees), nil
	}
	var err error
	if trees.Ref, err = flake.ParseRef(text); err != nil {
		return nil, usage(err)
	}
	trees.Revision = ref
	if len(process.secrets.texts()) > 0 {
		return guardedSource{&trees, process.job().Trigger()}, nil
	}
	return &trees, nil
}

// exampleSource writes the built-in flake to a directory, and takes a snapshot of that.
type exampleSource flake.Snapshotter

// exampleTime is the modification time of the built-in flake. It is fixed, so that all users build the same paths.
const exampleTime = 1767225600 // 2026-01-01

func (s exampleSource) Snapshot(ctx context.Context) (run.Snapshot, error) {
	dir := filepath.Join(s.Dir, exampleFlake)
	if err := example.Write(dir); err != nil {
		return run.Snapshot{}, err
	}
	var err error
	if s.Ref, err = flake.ParseRef("path:" + dir + "?lastModified=" + strconv.Itoa(exampleTime)); err != nil {
		return run.Snapshot{}, err
	}
	snapshot, err := (*flake.Snapshotter)(&s).Snapshot(ctx)
	snapshot.URL = exampleFlake
	return snapshot, err
}

// takeOverrides takes snapshots of overrides that are directories of this machine, for engines on other machines.
func takeOverrides(ctx context.Context, trees flake.Snapshotter, overrides []override) ([]pipelines.Override, error) {
	var all []pipelines.Override
	for _, o := range overrides {
		taken := pipelines.Override{Input: o.input, Ref: o.flake}
		info, err := os.Stat(o.flake)
		isDir := err == nil && info.IsDir()
		if o.narHash != "" && !isDir {
			return nil, usage(fmt.Errorf("take override of input %s: %s is not a directory", o.input, o.flake))
		}
		if isDir {
			if trees.Ref, err = flake.ParseRef(o.flake); err != nil {
				return nil, usage(err)
			}
			trees.Ref.NARHash = cmp.Or(o.narHash, trees.Ref.NARHash)
			s, err := trees.Snapshot(ctx)
			if err != nil {
				return nil, err
			}
			locked, err := flake.ParseRef(s.URL)
			if err != nil {
				return nil, err
			}
			locked.NARHash = s.NARHash // so that the manifest says which tree it was
			taken.Dir, taken.Ref = filepath.Join(s.Dir, s.Subdir), locked.String()
		}
		all = append(all, taken)
	}
	return all, nil
}

// recordedSource takes the tree of a manifest, and refuses any other. It implements [pipelines.Source].
type recordedSource struct {
	pipelines.Source
	want   flake.Snapshot
	inputs []flake.Input // of the manifest
}

// Snapshot takes the tree, and compares its hash. Commit, time and reference are those of the manifest, because evaluation
// depends on them: the same tree can come from a place with other ones.
func (p recordedSource) Snapshot(ctx context.Context) (flake.Snapshot, error) {
	s, err := p.Source.Snapshot(ctx)
	if err != nil {
		return s, hint.Wrap(err, "if the same tree is elsewhere, such as in a clone: --source FLAKE; its NAR hash has to be %s", p.want.NARHash)
	}
	if s.NARHash != p.want.NARHash {
		err := fmt.Errorf("take source: its NAR hash is %s, and that of the manifest %s", s.NARHash, p.want.NARHash)
		switch {
		case p.want.Dirty:
			return s, hint.Wrap(err, "the run was made from a tree with uncommitted changes, which no longer exist, so it cannot be repeated; make one from a commit")
		case p.want.URL == exampleFlake:
			return s, hint.Wrap(err, "each version of this program has another built-in flake: use the version in the manifest's field tool")
		}
		return s, hint.Wrap(err, "the files of %s changed since the run, or the manifest was edited; --source FLAKE takes the tree from elsewhere", p.want.URL)
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

// checkInputs compares the inputs of the manifest with the lock of its tree. They differ only if somebody edited one.
func (p recordedSource) checkInputs(s flake.Snapshot) error {
	if len(p.inputs) == 0 {
		return nil
	}
	var inputs []flake.Input
	lock, err := flake.ReadLock(filepath.Join(s.Dir, filepath.FromSlash(p.want.Subdir)))
	if err == nil {
		inputs, err = lock.Inputs(func(name string) bool { _, ok := p.want.Overrides[name]; return ok })
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the locks of the source: %w", err)
	}
	if !slices.EqualFunc(byName(p.inputs), byName(inputs), sameInput) {
		return hint.Wrap(errors.New("reproduce: the inputs in the manifest are not those of its source's flake.lock: it was edited"),
			"take the manifest from the run again")
	}
	return nil
}

func byName(inputs []flake.Input) []flake.Input {
	return slices.SortedFunc(slices.Values(inputs), func(a, b flake.Input) int { return strings.Compare(a.Name, b.Name) })
}

func sameInput(a, b flake.Input) bool {
	return a.Name == b.Name && flake.SameURL(a.URL, b.URL) && a.NARHash == b.NARHash
}

// touch sets the time of every file of a snapshot, because Nix uses the newest.
func touch(s flake.Snapshot) error {
	t := s.ModTime()
	return filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(path, t, t)
	})
}
