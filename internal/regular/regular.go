// Package regular opens files that others may have named or made: files on a command line, in a flake, in a directory
// of results, and in a manifest.
//
// Opening a named pipe waits for its other end, and no signal ends that wait. Opening a device can have any effect. So
// all these files are opened here, without waiting, and a file that is not regular is an error. A test of package ci
// finds other places that open files.
package regular

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular is the error for a named pipe, a device or a socket in place of a regular file.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a regular file for reading. It follows symbolic links.
func Open(name string) (*os.File, error) {
	return check(os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0))
}

// OpenIn opens a regular file below a directory for reading. It follows no symbolic link out of the directory.
func OpenIn(dir *os.Root, name string) (*os.File, error) {
	return check(dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0))
}

// OpenDir opens a directory.
func OpenDir(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
}

// OpenRoot opens a directory, so that files below it can be opened. [os.OpenRoot] would wait for a named pipe.
func OpenRoot(name string) (*os.Root, error) {
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	return os.OpenRoot(name)
}

// Read reads a regular file of at most limit bytes.
func Read(name string, limit int64) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	return readAll(f, limit)
}

// ReadIn reads a regular file below a directory, of at most limit bytes.
func ReadIn(dir *os.Root, name string, limit int64) ([]byte, error) {
	f, err := OpenIn(dir, name)
	if err != nil {
		return nil, err
	}
	return readAll(f, limit)
}

func readAll(f *os.File, limit int64) ([]byte, error) {
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: tooLarge(limit)}
	}
	return data, nil
}

// Tail returns at most limit bytes from the end of a file. If that is not the whole file, they begin with a line.
func Tail(f *os.File, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from := max(0, info.Size()-limit)
	text, err := io.ReadAll(io.NewSectionReader(f, from, limit))
	if err != nil || from == 0 {
		return text, err
	}
	if _, rest, ok := bytes.Cut(text, []byte("\n")); ok {
		return rest, nil
	}
	return text, nil
}

// Until returns a reader of r that fails with the cause of the context when the context is done. So a signal interrupts the
// reading of long files, and of short files that decompress to long ones.
func Until(ctx context.Context, r io.Reader) io.Reader { return until{ctx, r} }

type until struct {
	ctx context.Context // of this reader
	r   io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}

func tooLarge(limit int64) error {
	if limit >= 1<<20 {
		return fmt.Errorf("more than %d MiB", limit>>20)
	}
	return fmt.Errorf("more than %d bytes", limit)
}

func check(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: syscall.EISDIR}
	case !info.Mode().IsRegular():
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: ErrNotRegular}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
