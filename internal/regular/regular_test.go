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
