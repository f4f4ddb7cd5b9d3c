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

// create makes the directory what its layout promises. Trying is the only sure test of whether it can be written.
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

// maxCacheInfo is more than any nix-cache-info: it has a few lines.
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

// workDir makes a directory for what is not complete yet, in the file system of what it becomes.
// Its owner discards it.
func (d *Dir) workDir() (*regular.Dir, error) {
	return d.dir.Sub(incomingDir).MakeTemp(workPrefix)
}

func (d *Dir) discard(work *regular.Dir) {
	_ = d.dir.Sub(incomingDir).RemoveAll(filepath.Base(work.Name()))
}

// sweep removes work directories of killed imports: those that nothing was written to since a time.
// What cannot be removed stays for the next import: a leftover takes room and does no other harm.
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

// publishNew makes a file of the cache by way of a work directory, complete and on disk before it can be seen.
// It does not overwrite: where there is a file of that name, the error is [fs.ErrExist].
func (d *Dir) publishNew(work *regular.Dir, name string, data []byte) error {
	if err := work.Write(name, data); err != nil {
		return err
	}
	defer work.Remove(name)
	temp := incomingName(work, name)
	err := d.dir.Link(temp, name)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		// A file system without hard links, such as FAT. It has no other way to name a file without overwriting:
		// of two processes that are here at the same moment, the second wins.
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
