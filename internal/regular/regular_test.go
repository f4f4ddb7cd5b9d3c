package regular

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	name := func(base string) string { return filepath.Join(dir, base) }
	if err := errors.Join(
		os.WriteFile(name("file"), []byte("text"), 0o644),
		os.Symlink("file", name("link")),
		os.Symlink("/etc/hostname", name("out")),
		os.Mkdir(name("dir"), 0o755),
		syscall.Mkfifo(name("pipe"), 0o644),
		os.Symlink("pipe", name("link to pipe")),
		os.Symlink("/dev/null", name("link to device")),
	); err != nil {
		t.Fatal(err)
	}
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for base, want := range map[string]error{
		"file": nil, "link": nil, "dir": syscall.EISDIR, "pipe": ErrNotRegular, "link to pipe": ErrNotRegular, "absent": fs.ErrNotExist,
	} {
		f, err := Open(name(base))
		if !errors.Is(err, want) {
			t.Errorf("open %s: %v, want %v", base, err, want)
		}
		_ = f.Close()
		data, err := ReadIn(root, base, 4)
		if !errors.Is(err, want) || err == nil && string(data) != "text" {
			t.Errorf("read %s: %q, %v, want %v", base, data, err, want)
		}
	}
	if _, err := Open(name("link to device")); !errors.Is(err, ErrNotRegular) {
		t.Errorf("open a device: %v", err)
	}
	if _, err := OpenIn(root, "out"); err == nil {
		t.Error("a link leads out of the directory")
	}
	if _, err := OpenRoot(name("pipe")); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("open a pipe as a directory: %v", err)
	}
	if _, err := OpenDir(name("pipe")); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("open a pipe as a directory: %v", err)
	}
	if _, err := Read(name("file"), 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("read more than the limit: %v", err)
	}
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := errors.Join(
		os.WriteFile(target, []byte("text"), 0o644),
		os.Symlink(target, filepath.Join(dir, "link")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	for base, good := range map[string]bool{"new": true, "new again": true, "link": false, "pipe": false} {
		f, err := Create(filepath.Join(dir, base))
		if (err == nil) != good {
			t.Errorf("create %s: %v", base, err)
		}
		_ = f.Close()
	}
	if data, err := os.ReadFile(target); err != nil || string(data) != "text" {
		t.Errorf("the target of a link has %q, %v", data, err)
	}
	// A reader at the other end of a pipe makes it one that can be opened, and no file all the same.
	r, err := os.OpenFile(filepath.Join(dir, "pipe"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := Create(filepath.Join(dir, "pipe")); !errors.Is(err, ErrNotRegular) {
		t.Errorf("create a pipe that is read: %v", err)
	}
	f, err := Create(target)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("a file that was there is not emptied: %v, %v", info, err)
	}
}
