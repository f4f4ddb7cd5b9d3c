package binarycache

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// create makes the directory what its layout promises. Trying is the only sure test of whether it can be written.
func (d *Dir) create() error {
	for _, name := range []string{narDir, incomingDir} {
		if err := os.MkdirAll(d.file(name), 0o755); err != nil {
			return err
		}
	}
	work, err := d.workDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	info := gonix.CacheInfo{StoreDirectory: nix.StoreDir, WantMassQuery: true, Priority: 30}
	text, err := info.MarshalText()
	if err != nil {
		return err
	}
	if err := d.publishNew(work, gonix.CacheInfoName, text); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d.sweep(time.Now().Add(-leftoverAge))
	return d.checkCacheInfo()
}

// maxCacheInfo is more than any nix-cache-info: it has a few lines.
const maxCacheInfo = 64 << 10

func (d *Dir) checkCacheInfo() error {
	text, err := regular.Read(d.file(gonix.CacheInfoName), maxCacheInfo)
	if err != nil {
		return err
	}
	var info gonix.CacheInfo
	if err := info.UnmarshalText(bytes.TrimSpace(text)); err != nil {
		return err
	}
	if info.StoreDirectory != nix.StoreDir {
		return fmt.Errorf("its %s is for the store %s, not %s", gonix.CacheInfoName, info.StoreDirectory, nix.StoreDir)
	}
	return nil
}

// workDir makes a directory for what is not complete yet, in the file system of what it becomes.
// Its owner removes it.
func (d *Dir) workDir() (string, error) {
	return os.MkdirTemp(d.file(incomingDir), "")
}

// sweep removes work directories that nobody has written to since a time.
// What cannot be removed stays for the next: a leftover takes room and does no other harm.
func (d *Dir) sweep(since time.Time) {
	entries, _ := os.ReadDir(d.file(incomingDir))
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && info.ModTime().Before(since) {
			_ = os.RemoveAll(filepath.Join(d.file(incomingDir), entry.Name()))
		}
	}
}

// publishNew makes a file of the cache by way of a work directory, complete and on disk before it can be seen.
// It does not overwrite: where there is a file of that name, the error is [fs.ErrExist].
func (d *Dir) publishNew(work, name string, data []byte) error {
	temp := filepath.Join(work, name)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if err := syncAndClose(f); err != nil {
		return err
	}
	err = os.Link(temp, d.file(name))
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		// A file system without hard links, such as FAT. It has no other way to name a file without overwriting:
		// of two processes that are here at the same moment, the second wins.
		if _, err := os.Lstat(d.file(name)); err == nil {
			return fs.ErrExist
		}
		return os.Rename(temp, d.file(name))
	}
	return err
}

func syncAndClose(f *os.File) error {
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// syncDir makes the names in a directory last.
func syncDir(path string) error {
	f, err := regular.OpenDir(path)
	if err != nil {
		return err
	}
	return syncAndClose(f)
}
