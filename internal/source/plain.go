package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// plain takes a directory with all that is in it, as Nix does for path: references, a .git among the rest.
// Its time is that of its newest file or directory, unless the reference says otherwise.
func (t *Taker) plain(ctx context.Context, tree *tree, dir string) (nix.Snapshot, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nix.Snapshot{}, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nix.Snapshot{}, err
	}
	if err := checkOutside(tree.dir, dir); err != nil {
		return nix.Snapshot{}, err
	}
	newest, err := copyAll(ctx, tree, dir)
	if err != nil {
		return nix.Snapshot{}, err
	}
	s := nix.Snapshot{Subdir: t.Ref.Dir, Rev: t.Ref.Rev, LastModified: newest}
	if t.Ref.LastModified != 0 {
		s.LastModified = t.Ref.LastModified
	}
	ref := nix.FlakeRef{Kind: nix.PathFlake, Path: dir, Dir: t.Ref.Dir, Rev: t.Ref.Rev}
	s.URL = ref.String()
	return s, nil
}

// checkOutside refuses a tree that lies within what is copied to it, which would have no end.
func checkOutside(tree, dir string) error {
	tree, err := filepath.EvalSymlinks(tree)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(dir, tree); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("%s lies within the directory itself", filepath.Dir(tree))
	}
	return nil
}

// copyAll adds everything in a directory and returns the newest time there, in seconds since 1970.
func copyAll(ctx context.Context, tree *tree, dir string) (newest int64, err error) {
	src, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		newest = max(newest, info.ModTime().Unix())
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return tree.mkdir(filepath.ToSlash(rel))
		}
		return copyEntry(tree, src, rel, filepath.ToSlash(rel), info)
	})
	return newest, err
}

// copyEntry adds a file or symbolic link.
func copyEntry(tree *tree, src *os.Root, name, as string, info fs.FileInfo) error {
	switch info.Mode().Type() {
	case 0:
		f, err := src.Open(name)
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
