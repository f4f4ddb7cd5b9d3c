package flake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// maxUntracked is how many untracked files are listed: enough to recognise a forgotten one.
const maxUntracked = 10

// checkout is a repository on this machine. A bare one has no working tree.
type checkout struct {
	top  string // the working tree's root, or the bare repository; absolute
	bare bool
}

// local takes the snapshot of a checkout, a bare repository or another directory of this machine.
func (t *Snapshotter) local(ctx context.Context, g git, tree *tree, dir string) (Snapshot, error) {
	dir, err := realPath(dir)
	if err != nil {
		return Snapshot{}, err
	}
	c, ok := findCheckout(dir, t.Ref.Kind == KindGit)
	if !ok {
		if t.revision() != "" || t.Ref.Submodules || t.Ref.Kind == KindGit {
			return Snapshot{}, fmt.Errorf("%s is not a git repository", dir)
		}
		return t.plain(ctx, tree, dir)
	}
	subdir, err := t.subdir(c, dir)
	if err != nil {
		return Snapshot{}, err
	}
	v, err := c.open(ctx, g)
	if err != nil {
		return Snapshot{}, err
	}
	rev, err := v.resolve(ctx, t.revision())
	if err != nil {
		return Snapshot{}, err
	}
	working := t.revision() == "" && !c.bare
	var flake []byte
	if working {
		flake, err = workingFlakeFile(c.top, subdir)
	} else {
		flake, err = v.flakeFile(ctx, rev, subdir)
	}
	if err != nil {
		return Snapshot{}, err
	}
	if t, err = t.withSelf(flake); err != nil {
		return Snapshot{}, err
	}
	s := Snapshot{Subdir: subdir, Rev: rev}
	if working {
		if s.Untracked, err = v.untracked(ctx); err != nil {
			return Snapshot{}, err
		}
		if s.Dirty, err = v.dirty(ctx, rev, t.Ref.Submodules); err != nil {
			return Snapshot{}, err
		}
	}
	return t.fromCheckout(ctx, v, tree, s)
}

// realPath returns the absolute path of a directory, without symbolic links.
func realPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// fromCheckout fills the tree: from the working tree if that is dirty, else from the commit.
func (t *Snapshotter) fromCheckout(ctx context.Context, v *view, tree *tree, s Snapshot) (Snapshot, error) {
	repo, err := newRepository(ctx, v.user)
	if err != nil {
		return Snapshot{}, err
	}
	if err := repo.borrow(filepath.Join(v.files.common, "objects")); err != nil {
		return Snapshot{}, err
	}
	if s.Rev != "" {
		if s.LastModified, err = repo.commitTime(ctx, s.Rev); err != nil {
			return Snapshot{}, err
		}
	}
	here := Ref{Kind: KindGit, URL: fileURL(v.checkout.top)}
	if s.Dirty {
		s.Rev = ""
		s.URL = t.locked(here, "", s.Subdir)
		return s, v.copyTracked(ctx, tree, "", t.Ref.Submodules)
	}
	if ref, err := RemoteRef(v.remote); err == nil && ref.CloneURL() != "" {
		here = ref
	}
	s.URL = t.locked(here, s.Rev, s.Subdir)
	from := origin{repo, cmp.Or(v.remote, v.checkout.top), filepath.Join(v.files.common, "modules")}
	return s, t.fromCommit(ctx, tree, from, s.Rev)
}

// subdir returns the flake's directory within the repository: the named one or, if it has no flake.nix, the nearest parent
// with a flake.nix. Nix does the same.
func (t *Snapshotter) subdir(c checkout, dir string) (string, error) {
	rel, err := filepath.Rel(c.top, dir)
	if err != nil {
		return "", err
	}
	named := path.Join(filepath.ToSlash(rel), t.Ref.Dir)
	if t.Ref.Dir != "" || c.bare {
		return inTree(named), nil
	}
	for up := named; ; up = path.Dir(up) {
		if _, err := os.Lstat(filepath.Join(c.top, up, "flake.nix")); err == nil {
			return inTree(up), nil
		}
		if up == "." {
			return inTree(named), nil
		}
	}
}

// inTree returns a clean relative path in the form of a snapshot, in which the root is empty.
func inTree(dir string) string {
	if dir == "." {
		return ""
	}
	return dir
}

// resolve returns the full hash of a revision's commit. The empty revision is HEAD, whose hash is empty in a checkout
// without commits. A branch may exist only as a branch of the remote: a CI system checks out a single one.
func (v *view) resolve(ctx context.Context, revision string) (string, error) {
	candidates := []string{revision, "refs/remotes/origin/" + revision}
	if revision == "" {
		candidates = []string{"HEAD"}
	}
	for _, candidate := range candidates {
		rev, err := v.neutral.output(ctx, v.dir, v.bare("rev-parse", "--verify", "--quiet", "--end-of-options", candidate+"^{commit}")...)
		if e, ok := errors.AsType[*gitError](err); ok && e.stderr == "" {
			continue // --quiet: no such revision
		}
		if failedWith(err, "unknown revision", "ambiguous argument", "Needed a single revision", "bad revision") {
			continue
		}
		if err != nil {
			return "", err
		}
		return rev, checkRev(rev)
	}
	if revision == "" && !v.checkout.bare {
		return "", v.headIsUnborn(ctx)
	}
	if revision == "" {
		return "", errors.New("the repository has no commits")
	}
	names, err := v.neutral.output(ctx, v.dir, v.bare("for-each-ref", "--format=%(refname:lstrip=2)", "refs/tags", "refs/heads")...)
	if err != nil {
		return "", err
	}
	return "", noSuchRevision(revision, strings.Fields(names), "git fetch --tags may bring it")
}

// headIsUnborn returns an error where HEAD names a commit, which then cannot be read. Without the error, a repository
// with missing objects would look like one without commits.
func (v *view) headIsUnborn(ctx context.Context) error {
	head, err := v.neutral.output(ctx, v.dir, v.bare("rev-parse", "--verify", "--quiet", "HEAD")...)
	if e, ok := errors.AsType[*gitError](err); ok && e.stderr == "" {
		return nil
	}
	if err != nil {
		return err
	}
	return hint.Wrap(fmt.Errorf("the repository has lost its commit %s", head), "git -C %s fsck says what is missing; clone it again", hint.Quote(v.checkout.top))
}

// noSuchRevision returns the error of a revision that does not exist, with similar names that do.
func noSuchRevision(revision string, names []string, advice string) error {
	err := fmt.Errorf("no tag, branch or commit %q", revision)
	if near := hint.Nearest(revision, names, 3); len(near) > 0 {
		return hint.Wrap(err, "did you mean %s? Otherwise %s", strings.Join(near, ", "), advice)
	}
	return hint.Wrap(err, "%s", advice)
}
