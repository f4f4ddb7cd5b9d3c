package regular

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Dir is a directory of results. All names are below it, and it is opened once, when it is first used.
//
// Anyone may have made such a directory, because it can come with a checkout. So no symbolic link in it is followed, and no
// file of another user is used. A nil Dir has no files and cannot be written to.
type Dir struct {
	top *top
	rel string // below top
}

// top is a directory with all directories below it.
type top struct {
	path   string
	anyone bool // the owner does not matter, and links that stay below the directory are followed
	exists bool // it is never created

	mu   sync.Mutex
	root *os.Root // nil before the first use
}

// NewDir returns the directory of results with a name. It need not exist. It must not be a symbolic link. If the name is
// relative, no part of it may be a link either, because it can come with a checkout.
func NewDir(name string) *Dir { return &Dir{&top{path: filepath.Clean(name)}, "."} }

// AnyDir returns a directory that may belong to any user, such as a directory to read. Links in it are followed if they do not
// lead out of it.
func AnyDir(name string) *Dir { return &Dir{&top{path: filepath.Clean(name), anyone: true}, "."} }

// Sub returns a directory below this one. It opens and creates nothing.
func (d *Dir) Sub(names ...string) *Dir {
	if d == nil {
		return nil
	}
	return &Dir{d.top, filepath.Join(append([]string{d.rel}, names...)...)}
}

// Name returns the path of the directory.
func (d *Dir) Name() string {
	if d == nil {
		return ""
	}
	return filepath.Join(d.top.path, d.rel)
}

// File returns the path of a file in the directory, for messages and for other programs.
func (d *Dir) File(name string) string { return filepath.Join(d.Name(), name) }

// Make creates the directory if it does not exist.
func (d *Dir) Make() error {
	_, _, err := d.open("x", true)
	return err
}

// OpenRegular opens a regular file for reading.
func (d *Dir) OpenRegular(name string) (*os.File, error) {
	root, path, err := d.open(name, false)
	if err != nil {
		return nil, err
	}
	before, err := d.lstat(root, path)
	if err != nil {
		return nil, err
	}
	f, err := OpenIn(root, path)
	if err != nil {
		return nil, d.named(err)
	}
	if after, err := f.Stat(); err != nil || !d.top.anyone && !os.SameFile(before, after) {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: f.Name(), Err: cmp.Or(err, errReplaced)}, f.Close())
	}
	return f, nil
}

// Read reads a regular file of at most limit bytes.
func (d *Dir) Read(name string, limit int64) ([]byte, error) {
	f, err := d.OpenRegular(name)
	if err != nil {
		return nil, err
	}
	return readAll(f, limit)
}

// CreateNew creates an empty file. It replaces an existing file.
func (d *Dir) CreateNew(name string) (*os.File, error) {
	root, path, err := d.open(name, true)
	if err != nil {
		return nil, err
	}
	if err := root.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, d.named(err)
	}
	f, err := root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	return f, d.named(err)
}

// Replace replaces a file by one with the output of fill: a reader sees either the old contents or the new ones. The file
// is on disk then.
func (d *Dir) Replace(name string, mode fs.FileMode, fill func(io.Writer) error) error {
	return d.replace(name, mode, fill, (*os.File).Sync, (*os.Root).Rename)
}

// Write replaces a file by one with the data. It is on disk then.
func (d *Dir) Write(name string, data []byte) error {
	return d.Replace(name, 0o644, writing(data))
}

// WriteUnsynced is [Dir.Write], but the file may be lost in a crash of the machine.
func (d *Dir) WriteUnsynced(name string, data []byte) error {
	return d.replace(name, 0o644, writing(data), func(*os.File) error { return nil }, (*os.Root).Rename)
}

// WriteNew writes a file that does not exist; otherwise the error is [fs.ErrExist]. A reader sees the whole file or none.
func (d *Dir) WriteNew(name string, data []byte) error {
	return d.replace(name, 0o644, writing(data), (*os.File).Sync, func(root *os.Root, part, path string) error {
		if err := root.Link(part, path); err != nil {
			return err
		}
		return root.Remove(part)
	})
}

func writing(data []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(data); return err }
}

// replace writes a file beside the one with the name, and then calls place with the names of both.
func (d *Dir) replace(
	name string, mode fs.FileMode, fill func(io.Writer) error, sync func(*os.File) error, place func(root *os.Root, part, path string) error,
) error {
	root, path, err := d.open(name, true)
	if err != nil {
		return err
	}
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text())
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return d.named(err)
	}
	err = errors.Join(fill(f), f.Chmod(mode))
	if err == nil {
		err = sync(f)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = place(root, part, path)
	}
	if err != nil {
		_ = root.Remove(part)
	}
	return d.named(err)
}

// Rename renames a file of the directory.
func (d *Dir) Rename(from, to string) error { return d.both(from, to, (*os.Root).Rename) }

// Link gives a file of the directory a second name, unless a file has that name.
func (d *Dir) Link(from, to string) error { return d.both(from, to, (*os.Root).Link) }

func (d *Dir) both(from, to string, do func(root *os.Root, from, to string) error) error {
	_, source, err := d.open(from, false)
	if err != nil {
		return err
	}
	root, target, err := d.open(to, true)
	if err != nil {
		return err
	}
	return d.named(do(root, source, target))
}

// MakeTemp creates a directory with a new name that begins with prefix.
func (d *Dir) MakeTemp(prefix string) (*Dir, error) {
	name := prefix + rand.Text()
	root, path, err := d.open(name, true)
	if err != nil {
		return nil, err
	}
	return d.Sub(name), d.named(root.Mkdir(path, 0o700))
}

// Stat describes a file or directory.
func (d *Dir) Stat(name string) (fs.FileInfo, error) {
	root, path, err := d.open(name, false)
	if err != nil {
		return nil, err
	}
	return d.lstat(root, path)
}

// List returns the entries of the directory, sorted by name.
func (d *Dir) List() ([]fs.DirEntry, error) {
	f, err := d.OpenItself()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// OpenItself opens the directory itself.
func (d *Dir) OpenItself() (*os.File, error) {
	root, path, err := d.open("x", false)
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(filepath.Dir(path), os.O_RDONLY|syscall.O_DIRECTORY, 0)
	return f, d.named(err)
}

// Sync brings the names in the directory to disk.
func (d *Dir) Sync() error {
	f, err := d.OpenItself()
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Remove removes a file, or an empty directory.
func (d *Dir) Remove(name string) error {
	root, path, err := d.open(name, false)
	if err != nil {
		return err
	}
	return d.named(root.Remove(path))
}

// RemoveAll removes a file, or a directory with its contents. It follows no link.
func (d *Dir) RemoveAll(name string) error {
	root, path, err := d.open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.named(root.RemoveAll(path))
}

// Close closes the directory and those below it. The next use opens it again.
func (d *Dir) Close() {
	d.top.mu.Lock()
	defer d.top.mu.Unlock()
	if d.top.root != nil {
		_ = d.top.root.Close()
		d.top.root = nil
	}
}
