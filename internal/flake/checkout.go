package flake

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// maxUntracked is how many untracked files are named: enough to recognise the one that was forgotten.
const maxUntracked = 10

// checkout is a repository on this machine. A bare one has no working tree.
type checkout struct {
	top  string // the working tree's root, or the bare repository; absolute
	bare bool
}

// local takes a directory of this machine, whatever it is.
func (t *Snapshotter) local(ctx context.Context, g git, tree *tree, scratch, dir string) (Snapshot, error) {
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
	v, err := c.open(ctx, g, scratch)
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
	return t.fromCheckout(ctx, v, tree, scratch, s)
}

// realPath returns the absolute path of a directory, without symbolic links.
func realPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// fromCheckout fills the tree, from the working tree where it is dirty and else from the commit.
func (t *Snapshotter) fromCheckout(ctx context.Context, v *view, tree *tree, scratch string, s Snapshot) (Snapshot, error) {
	repo, err := newRepository(ctx, v.user, scratch)
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
	return s, t.fromCommit(ctx, tree, from, scratch, s.Rev)
}

// subdir returns the flake's directory within the repository: the one named or,
// where that has no flake.nix, the nearest one above it that has, as Nix does.
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

// inTree writes a clean relative path as a snapshot does: the root is empty.
func inTree(dir string) string {
	if dir == "." {
		return ""
	}
	return dir
}

// resolve returns the full hash of a revision's commit. The empty revision is HEAD;
// it has the empty hash in a checkout without commits. A branch may be one that only the remote has,
// since a CI system checks out no other than its own.
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

// headIsUnborn returns an error where HEAD names a commit: one that cannot be read. Without the error, a repository that
// has lost objects would pass for one without commits.
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

// dirty tells whether a tracked file differs from the commit, be it only in the index. A file of Git LFS may be checked
// out; other filters do not run, so that a file that git compares by its contents differs where one would change it.
func (v *view) dirty(ctx context.Context, rev string, submodules bool) (bool, error) {
	if rev == "" {
		return true, nil
	}
	// git would look into submodules by itself, with their own configuration.
	differs, err := v.differs(ctx, "--ignore-submodules=all", rev)
	if differs && err == nil {
		var only bool
		only, err = v.onlyLFS(ctx, rev)
		differs = !only
	}
	if differs || err != nil || !submodules {
		return differs, err
	}
	if differs, err = v.differs(ctx, "--cached", "--ignore-submodules=none", rev); differs || err != nil {
		return differs, err
	}
	err = v.eachTracked(ctx, func(entry tracked) error {
		sub, ok := v.submodule(entry)
		if !ok || differs {
			return nil // a submodule that was never initialised has no changes
		}
		child, err := sub.open(ctx, v.user, v.dir)
		if err != nil {
			return err
		}
		head, err := child.resolve(ctx, "")
		if err == nil && head == entry.object {
			differs, err = child.dirty(ctx, head, true)
		} else {
			differs = true
		}
		return err
	})
	return differs, err
}

// differs runs git diff and tells whether it finds a difference.
func (v *view) differs(ctx context.Context, args ...string) (bool, error) {
	args = slices.Concat([]string{"diff", "--quiet", "--no-ext-diff", "--no-textconv"}, args, []string{"--"})
	err := v.neutral.run(ctx, v.checkout.top, io.Discard, v.worktree(args...)...)
	if e, ok := errors.AsType[*gitError](err); ok && e.code == 1 {
		return true, nil
	}
	return false, err
}

// untracked returns a few of the files and directories that git neither tracks nor ignores; a directory ends with a slash.
func (v *view) untracked(ctx context.Context) ([]string, error) {
	var names []string
	read := func(r io.Reader) error {
		return eachZero(r, func(name string) error {
			if len(names) < maxUntracked {
				names = append(names, name)
			}
			return nil
		})
	}
	err := v.neutral.stream(ctx, v.checkout.top, read,
		v.worktree("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--no-empty-directory")...)
	return names, err
}

// tracked is an entry of the index.
type tracked struct {
	mode, object string
	name         string
}

// eachTracked calls f with every entry of the index.
func (v *view) eachTracked(ctx context.Context, f func(tracked) error) error {
	seen := ""
	read := func(r io.Reader) error {
		return eachZero(r, func(line string) error {
			meta, name, ok := strings.Cut(line, "\t")
			fields := strings.Fields(meta)
			if !ok || len(fields) < 2 || name == seen {
				return nil // a conflict has a file up to three times
			}
			seen = name
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(tracked{fields[0], fields[1], name})
		})
	}
	return v.neutral.stream(ctx, v.checkout.top, read, v.worktree("ls-files", "-z", "--stage", "--cached")...)
}

// submodule returns the checkout of an entry that is an initialised submodule.
func (v *view) submodule(entry tracked) (checkout, bool) {
	if entry.mode != "160000" {
		return checkout{}, false
	}
	dir := filepath.Join(v.checkout.top, entry.name)
	if real, err := filepath.EvalSymlinks(dir); err != nil || real != dir {
		return checkout{}, false // a link could lead to any repository of the user
	}
	sub, ok := findCheckout(dir, false)
	return sub, ok && sub.top == dir && !sub.bare
}

// copyTracked adds the working tree's content of all tracked files, under a prefix.
// A deleted file is left out, and a submodule is an empty directory unless it is asked for.
func (v *view) copyTracked(ctx context.Context, tree *tree, prefix string, submodules bool) error {
	w, err := regular.OpenRoot(v.checkout.top)
	if err != nil {
		return err
	}
	defer w.Close()
	return v.eachTracked(ctx, func(entry tracked) error {
		if entry.mode != "160000" {
			return copyWorking(tree, w, entry.name, path.Join(prefix, entry.name))
		}
		if err := tree.mkdir(path.Join(prefix, entry.name)); err != nil || !submodules {
			return err
		}
		sub, ok := v.submodule(entry)
		if !ok {
			return nil // it was never initialised
		}
		child, err := sub.open(ctx, v.user, v.dir)
		if err != nil {
			return err
		}
		return child.copyTracked(ctx, tree, path.Join(prefix, entry.name), true)
	})
}

// copyWorking adds a tracked file as it is in the working tree. What has become a directory, or lies beyond
// a directory that has become a symbolic link, is deleted in git's eyes.
func copyWorking(tree *tree, w *os.Root, name, as string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if info, err := w.Lstat(dir); err != nil || !info.IsDir() {
			return nil
		}
	}
	info, err := w.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	return copyEntry(tree, w, name, as, info)
}

// noSuchRevision says that there is no such revision, and which ones there are that are written much like it.
func noSuchRevision(revision string, names []string, advice string) error {
	err := fmt.Errorf("no tag, branch or commit %q", revision)
	if near := hint.Nearest(revision, names, 3); len(near) > 0 {
		return hint.Wrap(err, "did you mean %s? Otherwise %s", strings.Join(near, ", "), advice)
	}
	return hint.Wrap(err, "%s", advice)
}

// eachZero calls f with every string of r that ends with a zero byte.
func eachZero(r io.Reader, f func(string) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, 0); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	for lines.Scan() {
		if err := f(lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}
