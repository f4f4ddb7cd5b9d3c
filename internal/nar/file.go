package nar

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Trees have many small files, and each of them needs five system calls here: open, fstat, read, fstat and close.
// An os.File needs two more, to register with the poller and to read the end, and more work of the garbage collector.

// regular writes the node of a file, without its end.
func (w *treeWriter) regular(path string) error {
	// This was a regular file when its directory was read. If it was replaced by a link or a pipe, open must not follow it
	// and must not wait.
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	})
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)

	var before, after unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return changed(path)
	}
	if err := w.contents(fd, path, &before); err != nil {
		return err
	}
	if err := unix.Fstat(fd, &after); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	// The change time of the inode proves nothing: Nix changes it when it optimises the store with hard links.
	if before.Size != after.Size || before.Mtim != after.Mtim {
		return changed(path)
	}
	return nil
}

func (w *treeWriter) contents(fd int, path string, stat *unix.Stat_t) error {
	words := wordsRegular
	if stat.Mode&0o100 != 0 {
		words = wordsExecutable
	}
	if err := w.raw(words); err != nil {
		return err
	}
	if err := w.length(stat.Size); err != nil {
		return err
	}
	for left := stat.Size; ; {
		if err := w.grow(); err != nil {
			return err
		}
		// One byte more than the size is read, to detect a file that has grown.
		buf := w.buf[len(w.buf):cap(w.buf)]
		buf = buf[:min(int64(len(buf)), left+1)]
		n, err := retry(func() (int, error) { return unix.Read(fd, buf) })
		switch {
		case err != nil:
			return &fs.PathError{Op: "read", Path: path, Err: err}
		case int64(n) > left, n == 0 && left > 0:
			return changed(path)
		}
		left -= int64(n)
		w.buf = w.buf[:len(w.buf)+n]
		if left == 0 && n < len(buf) { // the end was read
			return w.padding(stat.Size)
		}
	}
}

func changed(path string) error { return fmt.Errorf("%s: changed while it was read", path) }

// retry repeats a system call that a signal has interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
