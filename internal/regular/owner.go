package regular

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

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
