package flake

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// dirty reports whether a tracked file differs from the commit, in the working tree or in the index. A file of Git LFS may
// be checked out. Other filters do not run: a file that a filter changes is dirty.
func (v *view) dirty(ctx context.Context, rev string, submodules bool) (bool, error) {
	if rev == "" {
		return true, nil
	}
	// git itself would read submodules with their own configuration.
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
	entries, err := v.tracked(ctx)
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		sub, ok := v.submodule(entry)
		if !ok {
			continue // a submodule that was never initialised has no changes
		}
		child, err := sub.open(ctx, v.user)
		if err != nil {
			return false, err
		}
		head, err := child.resolve(ctx, "")
		if err != nil || head != entry.object {
			return true, err
		}
		if differs, err := child.dirty(ctx, head, true); differs || err != nil {
			return differs, err
		}
	}
	return false, nil
}

// differs runs git diff and reports whether it finds a difference.
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
	names, err := v.neutral.list(ctx, v.checkout.top,
		v.worktree("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--no-empty-directory")...)
	return names[:min(len(names), maxUntracked)], err
}

// indexEntry is an entry of the index.
type indexEntry struct {
	mode, object string
	name         string
}

// tracked returns the entries of the index.
func (v *view) tracked(ctx context.Context) ([]indexEntry, error) {
	lines, err := v.neutral.list(ctx, v.checkout.top, v.worktree("ls-files", "-z", "--stage", "--cached")...)
	if err != nil {
		return nil, err
	}
	entries := make([]indexEntry, 0, len(lines))
	for _, line := range lines {
		meta, name, ok := strings.Cut(line, "\t")
		fields := strings.Fields(meta)
		if ok && len(fields) >= 2 {
			entries = append(entries, indexEntry{fields[0], fields[1], name})
		}
	}
	// A conflict has a file up to three times.
	return slices.CompactFunc(entries, func(a, b indexEntry) bool { return a.name == b.name }), nil
}

// submodule returns the checkout of an entry that is an initialised submodule.
func (v *view) submodule(entry indexEntry) (checkout, bool) {
	if entry.mode != "160000" {
		return checkout{}, false
	}
	dir := filepath.Join(v.checkout.top, entry.name)
	if real, err := filepath.EvalSymlinks(dir); err != nil || real != dir {
		return checkout{}, false // a link may lead to any repository of the user
	}
	sub, ok := findCheckout(dir, false)
	return sub, ok && sub.top == dir && !sub.bare
}

// copyTracked adds the working tree's content of all tracked files, under a prefix.
// It leaves out a deleted file. A submodule is an empty directory, unless submodules are included.
func (v *view) copyTracked(ctx context.Context, tree *tree, prefix string, submodules bool) error {
	w, err := regular.OpenRoot(v.checkout.top)
	if err != nil {
		return err
	}
	defer w.Close()
	entries, err := v.tracked(ctx)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		as := path.Join(prefix, entry.name)
		if entry.mode == "160000" {
			err = v.copySubmodule(ctx, tree, entry, as, submodules)
		} else {
			err = copyWorking(tree, w, entry.name, as)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// copySubmodule adds the directory of a submodule and, if submodules are included, its tracked files.
func (v *view) copySubmodule(ctx context.Context, tree *tree, entry indexEntry, as string, submodules bool) error {
	if err := tree.mkdir(as); err != nil || !submodules {
		return err
	}
	sub, ok := v.submodule(entry)
	if !ok {
		return nil // it was never initialised
	}
	child, err := sub.open(ctx, v.user)
	if err != nil {
		return err
	}
	return child.copyTracked(ctx, tree, as, true)
}

// copyWorking adds a tracked file of the working tree. A file that has become a directory, or that is below a directory
// that has become a symbolic link, is a deleted file for git.
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
