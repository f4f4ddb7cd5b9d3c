package binarycache

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// create creates the files of an empty cache. It writes a file to find out whether the directory is writable.
func (d *Dir) create() error {
	for _, name := range []string{narDir, incomingDir} {
		if err := d.dir.Sub(name).Make(); err != nil {
			return err
		}
	}
	work, err := d.workDir()
	if err != nil {
		return err
	}
	defer d.discard(work)

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

// maxCacheInfo is the maximum size of nix-cache-info, which has a few lines.
const maxCacheInfo = 64 << 10

func (d *Dir) checkCacheInfo() error {
	text, err := d.dir.Read(gonix.CacheInfoName, maxCacheInfo)
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

// workPrefix begins the names of work directories.
const workPrefix = "import-"

// workDir creates a directory for incomplete files, in the file system of the cache. The caller must discard it.
func (d *Dir) workDir() (*regular.Dir, error) {
	return d.dir.Sub(incomingDir).MakeTemp(workPrefix)
}

func (d *Dir) discard(work *regular.Dir) {
	_ = d.dir.Sub(incomingDir).RemoveAll(filepath.Base(work.Name()))
}

// sweep removes the work directories of killed imports: those without a write since a time. It ignores errors, because the
// directories only need space, and the next import tries again.
func (d *Dir) sweep(since time.Time) {
	incoming := d.dir.Sub(incomingDir)
	entries, _ := incoming.List()
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), workPrefix) {
			continue
		}
		info, err := incoming.Stat(entry.Name())
		if err == nil && info.IsDir() && info.ModTime().Before(since) {
			_ = incoming.RemoveAll(entry.Name())
		}
	}
}

// publishNew creates a file of the cache. It is complete and on disk before it is visible. If there is a file of that name, the
// error is [fs.ErrExist].
func (d *Dir) publishNew(work *regular.Dir, name string, data []byte) error {
	if err := work.Write(name, data); err != nil {
		return err
	}
	defer work.Remove(name)
	temp := incomingName(work, name)
	err := d.dir.Link(temp, name)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		// A file system without hard links, such as FAT. It has no other way to name a file without overwriting another:
		// if two processes do this at the same time, the file of the second remains.
		if _, err := d.dir.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			return cmp.Or(err, fs.ErrExist)
		}
		return d.dir.Rename(temp, name)
	}
	return err
}

// incomingName is the name in the cache of a file in a work directory.
func incomingName(work *regular.Dir, name string) string {
	return filepath.Join(incomingDir, filepath.Base(work.Name()), name)
}

func syncAndClose(f *os.File) error { return errors.Join(f.Sync(), f.Close()) }
