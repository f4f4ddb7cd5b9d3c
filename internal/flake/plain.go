package flake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// plain takes the snapshot of a directory with all of its files, .git included, as Nix does for path: references, but
// without results of runs. Its time is that of its newest file or directory, unless the reference has a time.
func (t *Snapshotter) plain(ctx context.Context, tree *tree, dir string) (Snapshot, error) {
	dir, err := realPath(dir)
	if err != nil {
		return Snapshot{}, err
	}
	parent := filepath.Dir(Resolve(tree.dir))
	if rel, err := filepath.Rel(dir, parent); err == nil && filepath.IsLocal(rel) {
		return Snapshot{}, fmt.Errorf("%s is inside the directory itself", parent) // the copy would not end
	}
	results, err := t.resultsIn(dir)
	if err != nil {
		return Snapshot{}, err
	}
	newest, leftOut, err := copyAll(ctx, tree, dir, results)
	if err != nil {
		return Snapshot{}, err
	}
	s := Snapshot{Subdir: t.Ref.Dir, Rev: t.Ref.Rev, LastModified: newest, LeftOut: leftOut}
	if t.Ref.LastModified != 0 {
		s.LastModified = t.Ref.LastModified
	}
	ref := Ref{Kind: KindPath, Path: dir, Dir: t.Ref.Dir, Rev: t.Ref.Rev}
	s.URL = ref.String()
	return s, nil
}

// resultsIn returns the directories for results that are below a directory, relative to it. It refuses one that contains
// the flake itself, which would be left out.
func (t *Snapshotter) resultsIn(dir string) ([]string, error) {
	var below []string
	for _, results := range t.Results {
		at, err := filepath.Abs(results)
		if err != nil {
			return nil, err
		}
		at = Resolve(at)
		rel, err := filepath.Rel(dir, at)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		if flake, err := filepath.Rel(rel, filepath.FromSlash(t.Ref.Dir)); rel == "." || t.Ref.Dir != "" && err == nil && filepath.IsLocal(flake) {
			return nil, hint.Wrap(fmt.Errorf("%s is the flake's own directory and cannot be the directory for results", at),
				"name another directory for the results: --out DIR")
		}
		below = append(below, rel)
	}
	return below, nil
}

// copyAll adds everything in a directory but the results, whose paths are relative to it. It returns the newest time in
// seconds since 1970, and the results that exist. The time of a directory above results does not count, since it changes
// with them.
func copyAll(ctx context.Context, tree *tree, dir string, results []string) (newest int64, leftOut []string, err error) {
	src, err := regular.OpenRoot(dir)
	if err != nil {
		return 0, nil, err
	}
	defer src.Close()
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains(results, rel) {
			leftOut = append(leftOut, filepath.ToSlash(rel))
			return fs.SkipDir
		}
		if entry.IsDir() && slices.ContainsFunc(results, func(r string) bool { return rel == "." || strings.HasPrefix(r, rel+"/") }) {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		newest = max(newest, info.ModTime().Unix())
		if entry.IsDir() {
			return tree.mkdir(filepath.ToSlash(rel))
		}
		return copyEntry(tree, src, rel, filepath.ToSlash(rel), info)
	})
	return newest, leftOut, err
}

// copyEntry adds a file or symbolic link.
func copyEntry(tree *tree, src *os.Root, name, as string, info fs.FileInfo) error {
	switch info.Mode().Type() {
	case 0:
		f, err := regular.OpenIn(src, name)
		if err != nil {
			return err
		}
		defer f.Close()
		return tree.file(as, info.Mode()&0o100 != 0, f)
	case fs.ModeSymlink:
		target, err := src.Readlink(name)
		if err != nil {
			return err
		}
		return tree.symlink(as, target)
	default:
		return fmt.Errorf("%s is neither file, directory nor symbolic link", filepath.Join(src.Name(), name))
	}
}

// fileURL returns the file: URL of an absolute path.
func fileURL(p string) string {
	return (&url.URL{Scheme: "file", Path: strings.TrimSuffix(filepath.ToSlash(p), "/")}).String()
}
