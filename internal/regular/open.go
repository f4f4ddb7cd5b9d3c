package regular

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// errEscapes is the error for a name that leads out of its directory.
var errEscapes = errors.New("path escapes from its directory")

// open returns the root, and the path of a name below it. It checks all directories of the path. With create, it creates
// those that do not exist.
func (d *Dir) open(name string, create bool) (*os.Root, string, error) {
	if d == nil {
		return nil, "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	root, err := d.top.open(create)
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(d.rel, name)
	if !filepath.IsLocal(path) {
		return nil, "", &fs.PathError{Op: "open", Path: d.File(name), Err: errEscapes}
	}
	for i, c := range path {
		if c != filepath.Separator {
			continue
		}
		if err := d.enter(root, path[:i], create); err != nil {
			return nil, "", err
		}
	}
	return root, path, nil
}

// enter checks a directory in the path of a file.
func (d *Dir) enter(root *os.Root, path string, create bool) error {
	info, err := d.lstat(root, path)
	if create && errors.Is(err, fs.ErrNotExist) {
		if err := root.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return d.named(err)
		}
		info, err = d.lstat(root, path)
	}
	if err == nil && !info.IsDir() {
		err = d.named(&fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR})
	}
	return err
}

// lstat describes a file, and returns an error if it must not be used.
func (d *Dir) lstat(root *os.Root, path string) (fs.FileInfo, error) {
	stat := root.Lstat
	if d.top.anyone {
		stat = root.Stat
	}
	info, err := stat(path)
	if err == nil && !d.top.anyone {
		err = checkOwn(filepath.Join(d.top.path, path), info)
	}
	return info, d.named(err)
}

// named puts the whole path into an error of [os.Root]; of two files, that of the new one.
func (d *Dir) named(err error) error {
	if e, ok := err.(*os.LinkError); ok {
		err = &fs.PathError{Op: e.Op, Path: e.New, Err: e.Err}
	}
	if e, ok := err.(*fs.PathError); ok && !filepath.IsAbs(e.Path) && !strings.HasPrefix(e.Path, d.top.path+"/") {
		return &fs.PathError{Op: strings.TrimSuffix(e.Op, "at"), Path: filepath.Join(d.top.path, e.Path), Err: e.Err}
	}
	return err
}

func (t *top) open(create bool) (*os.Root, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.root != nil {
		return t.root, nil
	}
	var err error
	if !t.anyone {
		err = t.noLinks()
	}
	if err == nil && create && !t.exists {
		err = os.MkdirAll(t.path, 0o755)
	}
	if err == nil && t.anyone {
		t.root, err = OpenRoot(t.path)
	} else if err == nil {
		t.root, err = openOwn(t.path)
	}
	return t.root, err
}
