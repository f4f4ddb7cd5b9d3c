package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Visit takes a commit, and a function that reads a file of the flake as the commit has it. The error of a file that the
// commit does not have wraps [fs.ErrNotExist]. Visit returns whether it wants the next commit.
type Visit = func(commit string, read func(file string) ([]byte, error)) (more bool, err error)

// What History may cost.
const (
	maxCommits  = 200
	maxTime     = 20 * time.Second
	maxFileSize = 16 << 20
)

// History visits the commits that changed one of the flake's files, from the snapshot's commit back along first parents:
// what a merge brought is one change. It returns whether that was the whole history, or as much as was wanted of it.
//
// Git runs in a repository of our own that borrows the objects, so that nothing in the checkout configures it.
func (t *Taker) History(ctx context.Context, s nix.Snapshot, files []string, visit Visit) (complete bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fmt.Errorf("not done within %s", maxTime))
	defer cancel()
	complete, err = t.history(ctx, s, files, visit)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("read history of %s: %w", t.Ref, err)
	}
	return complete, nil
}

func (t *Taker) history(ctx context.Context, s nix.Snapshot, files []string, visit Visit) (complete bool, err error) {
	dir := t.localDir()
	if dir == "" {
		return false, hint.Wrap(errors.New("it was taken without its history"), "clone the repository, and name the directory")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return false, err
	}
	c, ok := findCheckout(newGit(t.Git, t.Env), dir)
	if !ok {
		return false, errors.New("it is not a git repository")
	}
	rev := s.Rev
	if rev == "" {
		if rev, err = c.resolve(ctx, t.revision()); err != nil {
			return false, err
		}
	}
	if rev == "" {
		return false, errors.New("it has no commits")
	}
	scratch, err := os.MkdirTemp(t.Dir, "git-*")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(scratch)
	repo, shallow, err := c.withHistory(ctx, scratch)
	if err != nil {
		return false, err
	}
	whole, err := repo.visit(ctx, rev, s.Subdir, files, visit)
	if err == nil && !whole && shallow {
		err = hint.Wrap(errors.New("the clone is shallow"), "git fetch --unshallow; on GitHub Actions: fetch-depth: 0")
	}
	return whole, err
}

// withHistory returns a repository of our own with the objects of the checkout, which may end where a shallow clone does.
func (c checkout) withHistory(ctx context.Context, scratch string) (repo *repository, shallow bool, err error) {
	if scratch, err = filepath.Abs(scratch); err != nil {
		return nil, false, err
	}
	if repo, err = newRepository(ctx, c.git, scratch); err != nil {
		return nil, false, err
	}
	objects, err := c.path(ctx, "objects")
	if err != nil {
		return nil, false, err
	}
	if err := repo.borrow(objects); err != nil {
		return nil, false, err
	}
	file, err := c.path(ctx, "shallow")
	if err != nil {
		return nil, false, err
	}
	ends, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(ends) == 0 {
		return repo, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return repo, true, os.WriteFile(filepath.Join(repo.dir, "shallow"), ends, 0o644)
}

// errEnough ends a list of commits of which no more are wanted.
var errEnough = errors.New("enough")

// visit lists the commits and visits each. It returns false where commits are missing: beyond the most that are
// visited, and in a shallow clone, whose oldest commit looks as if it had made all files.
func (r *repository) visit(ctx context.Context, rev, subdir string, files []string, visit Visit) (whole bool, err error) {
	args := []string{"--literal-pathspecs", "log", "--first-parent", "--format=%H", fmt.Sprintf("--max-count=%d", maxCommits), rev, "--"}
	for _, file := range files {
		args = append(args, path.Join(subdir, file))
	}
	visited := 0
	list := func(out io.Reader) error {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			commit := lines.Text()
			if err := checkRev(commit); err != nil {
				return err
			}
			visited++
			read := func(file string) ([]byte, error) { return r.blob(ctx, commit, path.Join(subdir, file)) }
			more, err := visit(commit, read)
			if err != nil {
				return err
			}
			if !more {
				return errEnough
			}
		}
		return lines.Err()
	}
	err = r.neutral.stream(ctx, r.dir, list, r.bare(args...)...)
	if err == errEnough {
		return true, nil
	}
	return err == nil && visited < maxCommits && !r.isShallow(), err
}

func (r *repository) isShallow() bool {
	_, err := os.Stat(filepath.Join(r.dir, "shallow"))
	return err == nil
}

// blob returns a file of a commit.
func (r *repository) blob(ctx context.Context, commit, file string) ([]byte, error) {
	var data []byte
	read := func(out io.Reader) (err error) {
		data, err = io.ReadAll(io.LimitReader(out, maxFileSize+1))
		if err == nil && len(data) > maxFileSize {
			err = fmt.Errorf("read %s of %.7s: larger than %d MiB", file, commit, maxFileSize>>20)
		}
		return err
	}
	err := r.neutral.stream(ctx, r.dir, read, r.bare("cat-file", "blob", commit+":"+file)...)
	if failedWith(err, "does not exist in", "exists on disk, but not in") {
		return nil, fmt.Errorf("read %s of %.7s: %w", file, commit, fs.ErrNotExist)
	}
	return data, err
}
