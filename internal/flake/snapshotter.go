package flake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// maxTarballTree is the maximum size of a tarball's tree: several times the source of nixpkgs.
const maxTarballTree = 4 << 30

// Snapshotter takes the snapshot of one flake.
type Snapshotter struct {
	Ref Ref
	// Revision is a tag, branch or commit, short or full. It takes precedence over those of Ref.
	Revision string
	// Dir is the parent of the new directory for the tree. The caller removes it when the snapshot is no longer needed.
	Dir string
	// Results are directories that contain results of runs. They are not part of the tree of a directory without git, since
	// the results of one run would change what the next one builds. They need not exist.
	Results []string
	// Env is the environment of git ("NAME=value"): PATH and HOME, and what it needs to reach a remote.
	// Git never prompts. Variables that name another repository, such as GIT_DIR, are removed.
	Env []string

	gitProgram string // "git" if it is empty
	maxBytes   int64  // of the tree of a tarball; maxTarballTree if it is 0
}

// Snapshot takes the snapshot; its Dir is absolute. If it fails, it removes its files from t.Dir.
//
// Errors hold no credentials, and often a hint. The error of a done context is wrapped.
func (t *Snapshotter) Snapshot(ctx context.Context) (Snapshot, error) {
	s, err := t.snapshot(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("take snapshot of %s: %w", t.Ref, err)
	}
	return s, nil
}

func (t *Snapshotter) snapshot(ctx context.Context) (_ Snapshot, err error) {
	if t.Dir == "" {
		return Snapshot{}, errors.New("no directory to put it in")
	}
	g, err := t.newGit()
	if err != nil {
		return Snapshot{}, err
	}
	defer g.close()
	tree, err := newTree(filepath.Dir(g.scratch))
	if err != nil {
		return Snapshot{}, err
	}
	defer func() {
		err = errors.Join(err, tree.close())
		if err != nil {
			os.RemoveAll(tree.dir)
		}
	}()

	s, err := t.fill(ctx, g, tree)
	if err != nil {
		return Snapshot{}, err
	}
	return t.finish(ctx, tree, s)
}

// fill adds the flake's files to the tree and returns their Subdir, URL, Rev, LastModified, Dirty and Untracked.
func (t *Snapshotter) fill(ctx context.Context, g git, tree *tree) (Snapshot, error) {
	dir := t.localDir()
	switch {
	case dir != "":
		return t.local(ctx, g, tree, dir)
	case t.Ref.Kind == KindPath && t.Revision != "":
		return Snapshot{}, errors.New("a path: reference has no revisions: leave path: out")
	case t.Ref.Kind == KindPath:
		return t.plain(ctx, tree, t.Ref.Path)
	case t.Ref.Kind == KindTarball && t.Revision != "":
		return Snapshot{}, errors.New("a tarball has no revisions")
	case t.Ref.Kind == KindTarball:
		return t.tarball(ctx, tree)
	}
	return t.remote(ctx, g, tree)
}

// finish checks that the tree has a flake, sets the time of every file and hashes the tree.
func (t *Snapshotter) finish(ctx context.Context, tree *tree, s Snapshot) (Snapshot, error) {
	s.Dir = tree.dir
	if err := t.checkFlake(tree, s); err != nil {
		return Snapshot{}, err
	}
	lock, err := regular.ReadIn(tree.root, path.Join(s.Subdir, "flake.lock"), maxLockSize)
	switch {
	case err == nil:
		s.LockHash = sri(lock)
	case !errors.Is(err, os.ErrNotExist):
		return Snapshot{}, err
	}
	if err := tree.setTimes(s.ModTime()); err != nil {
		return Snapshot{}, err
	}
	if s.NARHash, err = tree.hash(ctx); err != nil {
		return Snapshot{}, err
	}
	if want := t.Ref.NARHash; want != "" && want != s.NARHash {
		return Snapshot{}, fmt.Errorf("NAR hash is %s, not %s as the reference says", s.NARHash, want)
	}
	return s, nil
}

// checkFlake checks that there is a flake.nix; its error says why there is none.
func (t *Snapshotter) checkFlake(tree *tree, s Snapshot) error {
	name := path.Join(s.Subdir, "flake.nix")
	info, err := tree.root.Stat(name)
	switch {
	case err == nil && info.Mode().IsRegular():
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a file", name)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	err = fmt.Errorf("no %s", name)
	if dir := t.localDir(); dir != "" {
		if _, statErr := os.Stat(filepath.Join(dir, t.Ref.Dir, "flake.nix")); statErr == nil {
			if s.Rev == "" || t.revision() == "" {
				return hint.Wrap(err, "the file exists but git does not track it: git -C '%s' add flake.nix", filepath.Join(dir, t.Ref.Dir))
			}
			return hint.Wrap(err, "%s came later than %s", name, t.revision())
		}
	}
	if s.Subdir == "" && t.Ref.Dir == "" {
		return hint.Wrap(err, "name the directory that holds it with ?dir=")
	}
	return err
}

// localDir returns the reference's directory on this machine; empty if it has none.
func (t *Snapshotter) localDir() string {
	if t.Ref.Kind == KindLocal {
		return t.Ref.Path
	}
	if u, err := url.Parse(t.Ref.URL); err == nil && t.Ref.Kind == KindGit && u.Scheme == "file" {
		return u.Path
	}
	return ""
}

// revision returns the revision to take; empty for HEAD.
func (t *Snapshotter) revision() string {
	return cmp.Or(t.Revision, t.Ref.Rev, t.Ref.Ref)
}

// locked returns the reference that a consumer of the commit would lock.
// ref has the repository's URL. An archive of a forge has no submodules, so that these need a clone.
func (t *Snapshotter) locked(ref Ref, rev, subdir string) string {
	if t.Ref.Submodules && ref.Kind != KindGit {
		ref = Ref{Kind: KindGit, URL: ref.CloneURL()}
	}
	ref.Ref, ref.Rev, ref.Dir, ref.Submodules = "", rev, subdir, t.Ref.Submodules
	ref.NARHash, ref.LastModified = "", 0
	return ref.String()
}
