package regular

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLink is the error for a symbolic link in a directory of results, where no link is followed.
var ErrLink = errors.New("it is a symbolic link, and no link is followed here")

// errReplaced is the error for a file that was replaced after it was checked.
var errReplaced = errors.New("it was replaced while it was opened")

// openOwn opens a directory of this user, which must not be a link.
func openOwn(path string) (*os.Root, error) {
	before, err := os.Lstat(path)
	if err == nil {
		err = checkOwn(path, before)
	}
	if err != nil {
		return nil, err
	}
	root, err := OpenRoot(path)
	if err != nil {
		return nil, err
	}
	if after, err := root.Stat("."); err != nil || !os.SameFile(before, after) {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: path, Err: cmp.Or(err, errReplaced)}, root.Close())
	}
	return root, nil
}

// noLinks returns an error if the directory is a link, or if a part of its relative name is.
func (t *top) noLinks() error {
	for i, c := range t.path + "/" {
		if c != filepath.Separator || i < len(t.path) && filepath.IsAbs(t.path) {
			continue
		}
		if info, err := os.Lstat(cmp.Or(t.path[:i], "/")); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return linkError(t.path[:i])
		}
	}
	return nil
}

func linkError(path string) error { return &fs.PathError{Op: "open", Path: path, Err: ErrLink} }

// checkOwn returns an error if a file or directory is a link, or if another user can change it.
func checkOwn(path string, info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink != 0 {
		return linkError(path)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := checkOwner(os.Geteuid(), int(stat.Uid), info.Mode()); err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}

// checkOwner returns an error if a user must not use a file of an owner. Files of root are used, because root can change all
// files anyway, but not a directory of root to which other users can write. Root uses no files of users.
func checkOwner(user, owner int, mode fs.FileMode) error {
	switch {
	case owner == user:
		return nil
	case owner != 0:
		return &foreignError{fmt.Sprintf("it belongs to another user, number %d", owner)}
	case mode.IsDir() && mode.Perm()&0o022 != 0 && mode&fs.ModeSticky == 0:
		return &foreignError{"it belongs to root, and other users may write to it"}
	}
	return nil
}

// foreignError is the error for a file of another user. It is an [fs.ErrPermission].
type foreignError struct{ text string }

func (e *foreignError) Error() string { return e.text }

func (e *foreignError) Is(target error) bool { return target == fs.ErrPermission }
