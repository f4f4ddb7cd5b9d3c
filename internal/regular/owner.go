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

// ErrLink says that there is a symbolic link below a directory of results, where none is followed.
var ErrLink = errors.New("it is a symbolic link, and no link is followed here")

// errReplaced says that there is another file in the place of one that was checked.
var errReplaced = errors.New("it was replaced while it was opened")

// openOwn opens a directory that is no link, and belongs to this user.
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

// noLinks looks for links in a relative name, and for one that has the whole name.
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

// checkOwn says whether a file or directory may be used: it is no link, and no other user can change it.
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

// checkOwner says whether a user may use what an owner has. Root can change everything anyway; but a directory of root's
// to which others write is theirs. Root does not use what a user can change.
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

// foreignError is for what another user owns. To [errors.Is] it is an [fs.ErrPermission].
type foreignError struct{ text string }

func (e *foreignError) Error() string { return e.text }

func (e *foreignError) Is(target error) bool { return target == fs.ErrPermission }
