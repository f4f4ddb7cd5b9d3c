package flake

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	zombienix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// tree is a directory to which the files of a flake are added.
//
// Names come from untrusted archives. They are relative and have slashes. None can lead out of the directory, write
// through a symbolic link or replace a file, even if the file system ignores case.
type tree struct {
	dir  string
	root *os.Root
	dirs map[string]bool // the directories made so far: real ones, no symbolic links
	// quota is how many bytes may still be added; negative for no limit.
	quota int64
}

// entryCost is the size of an entry in addition to its contents, so that many empty files reach the limit too.
const entryCost = 512

var errTooLarge = errors.New("tree is too large")

func newTree(parent string) (*tree, error) {
	dir, err := os.MkdirTemp(parent, "tree-*")
	if err != nil {
		return nil, err
	}
	// The Nix daemon reads the tree as another user, so that it cannot be private, unlike other temporary directories.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &tree{dir: dir, root: root, dirs: map[string]bool{".": true}, quota: -1}, nil
}

func (t *tree) close() error { return t.root.Close() }

// addEntry checks the name of a new entry and makes its directory.
func (t *tree) addEntry(name string) (string, error) {
	clean := path.Clean(name)
	if strings.HasPrefix(name, "/") || !filepath.IsLocal(clean) {
		return "", fmt.Errorf("add %q: leads out of the tree", name)
	}
	if t.dirs[clean] {
		return clean, nil
	}
	if err := t.chargeQuota(entryCost); err != nil {
		return "", err
	}
	return clean, t.mkdir(path.Dir(clean))
}

// chargeQuota subtracts n bytes from the quota.
func (t *tree) chargeQuota(n int64) error {
	if t.quota < 0 {
		return nil
	}
	if t.quota < n {
		return errTooLarge
	}
	t.quota -= n
	return nil
}

// mkdir makes a directory and its parents, unless it has made them before.
func (t *tree) mkdir(name string) error {
	if t.dirs[name] {
		return nil
	}
	parent, err := t.addEntry(name)
	if err != nil {
		return err
	}
	if err := t.root.Mkdir(parent, 0o755); err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	t.dirs[parent] = true
	return t.root.Chmod(parent, 0o755) // independent of the umask
}

// file adds a file. A NAR has only the executable bit of its mode.
func (t *tree) file(name string, executable bool, content io.Reader) error {
	clean, err := t.addEntry(name)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	f, err := t.root.OpenFile(clean, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	err = f.Chmod(mode) // independent of the umask
	if err == nil {
		err = t.copy(f, content)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	return nil
}

// copy copies the contents of a file within the quota.
func (t *tree) copy(w io.Writer, content io.Reader) error {
	if t.quota < 0 {
		_, err := io.Copy(w, content)
		return err
	}
	n, err := io.Copy(w, io.LimitReader(content, t.quota+1))
	return errors.Join(err, t.chargeQuota(n))
}

// symlink adds a symbolic link. Its target may be anything and need not exist.
func (t *tree) symlink(name, target string) error {
	clean, err := t.addEntry(name)
	if err != nil {
		return err
	}
	if err := t.root.Symlink(target, clean); err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	return nil
}

// link adds a file with the contents of another one, for a hard link in an archive.
func (t *tree) link(name, target string) error {
	target = path.Clean(target)
	info, err := t.root.Lstat(target)
	if err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("add %q: hard link to %q, which is not a file", name, target)
	}
	f, err := regular.OpenIn(t.root, target)
	if err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	defer f.Close()
	return t.file(name, info.Mode()&0o100 != 0, f)
}

// untar adds the entries of a tar archive under a prefix, and returns the newest of their times.
func (t *tree) untar(ctx context.Context, r io.Reader, prefix string) (newest time.Time, err error) {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return newest, nil
		}
		if err != nil {
			return newest, err
		}
		if err := ctx.Err(); err != nil {
			return newest, err
		}
		if !filepath.IsLocal(path.Clean(h.Name)) {
			return newest, fmt.Errorf("add %q: leads out of the tree", h.Name) // checked before the prefix is added
		}
		name := path.Join(prefix, h.Name)
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			continue // not an entry: git stores the commit there
		case tar.TypeDir:
			err = t.mkdir(name)
		case tar.TypeReg:
			err = t.file(name, h.Mode&0o100 != 0, archive)
		case tar.TypeSymlink:
			err = t.symlink(name, h.Linkname)
		case tar.TypeLink:
			err = t.link(name, path.Join(prefix, h.Linkname))
		default:
			err = fmt.Errorf("add %q: neither file, directory nor link", h.Name)
		}
		if err != nil {
			return newest, err
		}
		if h.ModTime.After(newest) {
			newest = h.ModTime
		}
	}
}

// setTimes sets the time of every file, link and directory. Nothing may be added afterwards: that would change the time
// of a directory.
func (t *tree) setTimes(at time.Time) error {
	ts := unix.NsecToTimespec(at.UnixNano())
	times := []unix.Timespec{ts, ts}
	return filepath.WalkDir(t.dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &fs.PathError{Op: "set time of", Path: name, Err: err}
		}
		return nil
	})
}

// hash returns the SRI SHA-256 of the tree as a NAR.
func (t *tree) hash(ctx context.Context) (string, error) {
	h, _, err := nar.HashTree(ctx, t.dir)
	if err != nil {
		return "", err
	}
	return h.SRI(), nil
}

// sri returns the SRI SHA-256 of some bytes.
func sri(b []byte) string {
	sum := sha256.Sum256(b)
	return zombienix.NewHash(zombienix.SHA256, sum[:]).SRI()
}
