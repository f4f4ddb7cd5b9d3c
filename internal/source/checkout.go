package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// maxUntracked is how many untracked files are named: enough to recognise the one that was forgotten.
const maxUntracked = 10

// checkout is a repository on this machine. A bare one has no working tree.
type checkout struct {
	git
	top  string // the working tree's root, or the bare repository; absolute
	bare bool
}

// local takes a directory of this machine, whatever it is.
func (t *Taker) local(ctx context.Context, g git, tree *tree, scratch, dir string) (nix.Snapshot, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nix.Snapshot{}, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nix.Snapshot{}, err
	}
	c, ok := findCheckout(g, dir)
	if !ok {
		if t.revision() != "" || t.Ref.Submodules || t.Ref.Kind == nix.GitFlake {
			return nix.Snapshot{}, fmt.Errorf("%s is not a git repository", dir)
		}
		return t.plain(ctx, tree, dir)
	}
	subdir, err := t.subdir(c, dir)
	if err != nil {
		return nix.Snapshot{}, err
	}
	rev, err := c.resolve(ctx, t.revision())
	if err != nil {
		return nix.Snapshot{}, err
	}
	working := t.revision() == "" && !c.bare
	repo, err := c.borrowed(ctx, scratch)
	if err != nil {
		return nix.Snapshot{}, err
	}
	var flake []byte
	if working {
		flake, err = workingFlakeFile(c.top, subdir)
	} else {
		flake, err = repo.flakeFile(ctx, rev, subdir)
	}
	if err != nil {
		return nix.Snapshot{}, err
	}
	if t, err = t.withSelf(flake); err != nil {
		return nix.Snapshot{}, err
	}
	s := nix.Snapshot{Subdir: subdir, Rev: rev}
	if working {
		if s.Untracked, err = c.untracked(ctx); err != nil {
			return nix.Snapshot{}, err
		}
		if s.Dirty, err = c.dirty(ctx, rev, t.Ref.Submodules); err != nil {
			return nix.Snapshot{}, err
		}
	}
	return t.fromCheckout(ctx, c, repo, tree, scratch, s)
}

// borrowed makes a repository of our own that has the objects of a checkout.
func (c checkout) borrowed(ctx context.Context, scratch string) (*repository, error) {
	repo, err := newRepository(ctx, c.git, scratch)
	if err != nil {
		return nil, err
	}
	objects, err := c.path(ctx, "objects")
	if err != nil {
		return nil, err
	}
	return repo, repo.borrow(objects)
}

// fromCheckout fills the tree, from the working tree where it is dirty and else from the commit.
func (t *Taker) fromCheckout(ctx context.Context, c checkout, repo *repository, tree *tree, scratch string, s nix.Snapshot) (_ nix.Snapshot, err error) {
	if s.Rev != "" {
		if s.LastModified, err = repo.commitTime(ctx, s.Rev); err != nil {
			return nix.Snapshot{}, err
		}
	}
	here := nix.FlakeRef{Kind: nix.GitFlake, URL: fileURL(c.top)}
	if s.Dirty {
		s.Rev = ""
		s.URL = t.locked(here, "", s.Subdir)
		return s, c.copyTracked(ctx, tree, "", t.Ref.Submodules)
	}
	remote := c.remote(ctx)
	if ref, err := nix.RemoteRef(remote); err == nil && ref.CloneURL() != "" {
		here = ref
	}
	s.URL = t.locked(here, s.Rev, s.Subdir)
	modules, err := c.path(ctx, "modules")
	if err != nil {
		return nix.Snapshot{}, err
	}
	if remote == "" {
		remote = c.top
	}
	return s, t.fromCommit(ctx, tree, origin{repo, remote, modules}, scratch, s.Rev)
}

// findCheckout finds the repository that a directory is or lies in, as Nix does: by the entry .git of the nearest
// directory that has one. Asking git would not tell a repository that it refuses from none at all.
func findCheckout(g git, dir string) (checkout, bool) {
	exists := func(dir, name string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return err == nil
	}
	if exists(dir, "HEAD") && exists(dir, "objects") && exists(dir, "refs") {
		return checkout{g, dir, true}, true
	}
	for top := dir; ; top = filepath.Dir(top) {
		if exists(top, ".git") {
			// An unusable .git must not make git go on upwards, to quite another repository.
			return checkout{g.with("GIT_CEILING_DIRECTORIES=" + filepath.Dir(top)), top, false}, true
		}
		if top == filepath.Dir(top) {
			return checkout{}, false
		}
	}
}

// subdir returns the flake's directory within the repository: the one named or,
// where that has no flake.nix, the nearest one above it that has, as Nix does.
func (t *Taker) subdir(c checkout, dir string) (string, error) {
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

// path returns the absolute path of something in the git directory, wherever a worktree or submodule has it.
func (c checkout) path(ctx context.Context, name string) (string, error) {
	p, err := c.output(ctx, c.top, "rev-parse", "--git-path", name)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(c.top, p)
	}
	return p, nil
}

// remote returns the URL of the remote "origin", credentials and all; empty where there is none.
func (c checkout) remote(ctx context.Context) string {
	remote, err := c.output(ctx, c.top, "remote", "get-url", "origin")
	if err != nil {
		return ""
	}
	return remote
}

// resolve returns the full hash of a revision's commit. The empty revision is HEAD;
// it has the empty hash in a checkout without commits. A branch may be one that only the remote has,
// since a CI system checks out no other than its own.
func (c checkout) resolve(ctx context.Context, revision string) (string, error) {
	candidates := []string{revision, "refs/remotes/origin/" + revision}
	if revision == "" {
		candidates = []string{"HEAD"}
	}
	for _, candidate := range candidates {
		rev, err := c.output(ctx, c.top, "rev-parse", "--verify", "--quiet", "--end-of-options", candidate+"^{commit}")
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
	if revision == "" && !c.bare {
		return "", nil
	}
	if revision == "" {
		return "", errors.New("the repository has no commits")
	}
	names, err := c.output(ctx, c.top, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/tags", "refs/heads")
	if err != nil {
		return "", err
	}
	return "", noSuchRevision(revision, strings.Fields(names), "git fetch --tags may bring it")
}

// dirty tells whether a tracked file differs from the commit, be it only in the index.
func (c checkout) dirty(ctx context.Context, rev string, submodules bool) (bool, error) {
	if rev == "" {
		return true, nil
	}
	ignore := "--ignore-submodules=all"
	if submodules {
		ignore = "--ignore-submodules=untracked"
	}
	// A monitor of the file system could be behind, and is a program that the repository names.
	err := c.run(ctx, c.top, io.Discard, "-c", "core.fsmonitor=false", "diff", "--quiet", "--no-ext-diff", ignore, rev, "--")
	if e, ok := errors.AsType[*gitError](err); ok && e.code == 1 {
		return true, nil
	}
	return false, err
}

// untracked returns a few of the files and directories that git neither tracks nor ignores; a directory ends with a slash.
func (c checkout) untracked(ctx context.Context) ([]string, error) {
	var names []string
	read := func(r io.Reader) error {
		return eachZero(r, func(name string) error {
			if len(names) < maxUntracked {
				names = append(names, name)
			}
			return nil
		})
	}
	err := c.stream(ctx, c.top, read, "-c", "core.fsmonitor=false", "ls-files", "-z",
		"--others", "--exclude-standard", "--directory", "--no-empty-directory")
	return names, err
}

// copyTracked adds the working tree's content of all tracked files, under a prefix.
// A deleted file is left out, and a submodule is an empty directory unless it is asked for.
func (c checkout) copyTracked(ctx context.Context, tree *tree, prefix string, submodules bool) error {
	w, err := os.OpenRoot(c.top)
	if err != nil {
		return err
	}
	defer w.Close()
	seen := ""
	read := func(r io.Reader) error {
		return eachZero(r, func(entry string) error {
			meta, name, ok := strings.Cut(entry, "\t")
			if !ok || name == seen {
				return nil // a conflict has a file up to three times
			}
			seen = name
			if err := ctx.Err(); err != nil {
				return err
			}
			if !strings.HasPrefix(meta, "160000 ") {
				return copyWorking(tree, w, name, path.Join(prefix, name))
			}
			if err := tree.mkdir(path.Join(prefix, name)); err != nil || !submodules {
				return err
			}
			sub, ok := findCheckout(c.git, filepath.Join(c.top, name))
			if !ok || sub.top == c.top {
				return nil // a submodule that was never initialised
			}
			return sub.copyTracked(ctx, tree, path.Join(prefix, name), true)
		})
	}
	return c.stream(ctx, c.top, read, "-c", "core.fsmonitor=false", "ls-files", "-z", "--stage", "--cached")
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
