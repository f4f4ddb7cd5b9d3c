// Package workdir makes the working directories of a run, and removes those of runs that were killed.
//
// A run holds a lock on each of its directories. The kernel releases the lock when the process ends for any reason. So a
// directory that can be locked has no process.
package workdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// prefix is the prefix of the names of working directories.
const prefix = "open-sesame-ci-work-"

// Dir is a working directory.
type Dir struct {
	Path string
	lock *os.File
}

// Make makes a working directory in a parent, by default the directory for temporary files. The kind is a part of its name.
func Make(parent, kind string) (*Dir, error) {
	for {
		path, err := os.MkdirTemp(parent, prefix+kind+"-")
		if err != nil {
			return nil, err
		}
		d, err := lock(path)
		if err != nil {
			_ = os.Remove(path)
			return nil, err
		}
		if d != nil {
			return d, nil
		}
	}
}

// lock locks a directory. The result is nil if another run has locked or removed it.
func lock(path string) (*Dir, error) {
	f, err := regular.OpenDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// A file system that has no locks has none for RemoveDead either.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, f.Close()
	}
	locked, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if there, err := os.Lstat(path); err != nil || !os.SameFile(there, locked) {
		return nil, f.Close()
	}
	return &Dir{Path: path, lock: f}, nil
}

// Remove removes the directory with all its files, in read-only directories too.
func (d *Dir) Remove() error {
	defer d.lock.Close()
	root, err := regular.OpenRoot(filepath.Dir(d.Path))
	if err != nil {
		return fmt.Errorf("remove working directory: %w", err)
	}
	defer root.Close()
	if err := remove(root, filepath.Base(d.Path)); err != nil {
		return fmt.Errorf("remove working directory %s: %w", d.Path, err)
	}
	return nil
}

// RemoveDead removes the working directories of killed runs of this user from a parent. It ignores errors: the directories
// only take space. It removes nothing from a parent in which other users can rename directories: they could give another
// directory of this user the name of a working directory.
func RemoveDead(parent string) {
	if parent == "" {
		parent = os.TempDir()
	}
	root, err := regular.OpenRoot(parent)
	if err != nil {
		return
	}
	defer root.Close()
	if info, err := root.Stat("."); err != nil || othersRename(info) {
		return
	}
	entries, _ := os.ReadDir(parent)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) {
			removeIfDead(root, entry.Name())
		}
	}
}

func removeIfDead(root *os.Root, name string) {
	info, err := root.Lstat(name)
	if err != nil || !info.IsDir() || !isOwn(info) {
		return
	}
	d, err := lock(filepath.Join(root.Name(), name))
	if err != nil || d == nil {
		return
	}
	defer d.lock.Close()
	if locked, err := d.lock.Stat(); err == nil && os.SameFile(info, locked) {
		_ = remove(root, name)
	}
}

func isOwn(info fs.FileInfo) bool { return belongsTo(info, os.Geteuid()) }

func belongsTo(info fs.FileInfo, user int) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == user
}

// othersRename reports whether users other than this one and root can rename files of this user in a directory.
func othersRename(info fs.FileInfo) bool {
	shared := info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0
	return shared || !isOwn(info) && !belongsTo(info, 0)
}

// remove removes a directory of root, unless something is mounted below it. It follows no link.
func remove(root *os.Root, name string) error {
	dir, err := filepath.EvalSymlinks(root.Name())
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return err
	}
	if err := checkMounts(filepath.Join(dir, name)); err != nil {
		return err
	}
	if root.RemoveAll(name) == nil {
		return nil
	}
	makeWritable(root, name)
	return root.RemoveAll(name)
}

// makeWritable lets the owner write to each directory.
func makeWritable(root *os.Root, name string) {
	_ = fs.WalkDir(root.FS(), name, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = root.Chmod(path, 0o700)
		}
		return nil
	})
}

// checkMounts returns an error if a file system is mounted at or below a path: it has files of other directories.
func checkMounts(path string) error {
	table, err := regular.Read("/proc/self/mountinfo", 64<<20)
	if err != nil {
		return err
	}
	if at := mountBelow(string(table), path); at != "" {
		return fmt.Errorf("something is mounted at %s", at)
	}
	return nil
}

// mountBelow returns a mount point at or below a path; empty if there is none. A space is \040 in the kernel's table.
func mountBelow(table, path string) string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		at := unescape.Replace(fields[4])
		if at == path || strings.HasPrefix(at, path+"/") {
			return at
		}
	}
	return ""
}
