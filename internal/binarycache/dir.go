package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

var errReadOnly = errors.New("the cache is open for reading only")

const (
	narDir      = "nar"
	incomingDir = ".incoming"

	// leftoverAge is the age at which the files of a killed run are removed. No import takes so long without a write.
	leftoverAge = 24 * time.Hour
)

// Dir is a binary cache in a directory. Several processes may import into one directory at the same time.
// Dump does not compare the NAR with its narinfo; see [Dir.Verify].
type Dir struct {
	*reader
	dir      *regular.Dir
	readOnly bool

	mu      sync.Mutex
	leftOut map[nix.StorePath]bool // references that need not be there
}

// Open opens the binary cache in a directory, and creates it if there is none.
// It removes the files that a killed run has left a day ago or earlier.
func Open(path string) (*Dir, error) { return OpenIn(regular.NewDir(path)) }

// OpenIn is [Open] for a directory below one of results.
func OpenIn(dir *regular.Dir) (*Dir, error) {
	d, err := newDir(dir)
	if err != nil {
		return nil, err
	}
	if err := d.create(); err != nil {
		err = fmt.Errorf("open binary cache %s: %w", d.name, err)
		switch {
		case errors.Is(err, syscall.EROFS):
			err = hint.Wrap(err, "choose a directory on a file system that is not read-only")
		case errors.Is(err, fs.ErrPermission):
			err = hint.Wrap(err, "choose another directory, or make this one yours with: sudo chown -R \"$(id -u)\" %s", d.name)
		}
		return nil, err
	}
	return d, nil
}

// OpenReadOnly opens the binary cache in a directory for everything but Import. It writes nothing.
func OpenReadOnly(path string) (*Dir, error) { return OpenReadOnlyIn(regular.AnyDir(path)) }

// OpenReadOnlyIn is [OpenReadOnly] for a directory below one of results.
func OpenReadOnlyIn(dir *regular.Dir) (*Dir, error) {
	d, err := newDir(dir)
	if err != nil {
		return nil, err
	}
	d.readOnly = true
	if err := d.checkCacheInfo(); err != nil {
		return nil, fmt.Errorf("open binary cache %s: %w", d.name, err)
	}
	return d, nil
}

func newDir(dir *regular.Dir) (*Dir, error) {
	path, err := filepath.Abs(dir.Name())
	if err != nil {
		return nil, fmt.Errorf("open binary cache: %w", err)
	}
	d := &Dir{dir: dir}
	d.reader = &reader{
		name: path,
		info: func(_ context.Context, path nix.StorePath) (*nix.NARInfo, error) { return d.info(path) },
		open: func(_ context.Context, info *nix.NARInfo) (io.ReadCloser, error) { return d.openNAR(info) },
	}
	return d, nil
}

// LeaveOut lets Import add objects that refer to these paths, although the cache does not have them.
func (d *Dir) LeaveOut(paths []nix.StorePath) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leftOut == nil {
		d.leftOut = map[nix.StorePath]bool{}
	}
	for _, path := range paths {
		d.leftOut[path] = true
	}
}

func (d *Dir) isLeftOut(path nix.StorePath) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leftOut[path]
}

func (d *Dir) has(path nix.StorePath) (bool, error) {
	_, err := d.dir.Stat(infoName(path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Info returns the metadata of a store object. If the cache does not have it, the error is an [ErrNotFound].
func (d *Dir) Info(path nix.StorePath) (*nix.NARInfo, error) {
	return d.narinfo(context.Background(), path)
}

func (d *Dir) info(path nix.StorePath) (*nix.NARInfo, error) {
	text, err := d.readInfo(path)
	if err != nil {
		return nil, err
	}
	return parseInfo(text, path)
}

// readInfo returns the text of a narinfo.
func (d *Dir) readInfo(path nix.StorePath) ([]byte, error) {
	text, err := d.dir.Read(infoName(path), maxNARInfo)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return text, err
}

// All returns the metadata of all objects in the cache, sorted by path.
func (d *Dir) All(ctx context.Context) ([]nix.PathInfo, error) {
	entries, err := d.dir.List()
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.name, err)
	}
	var infos []nix.PathInfo
	for _, entry := range entries {
		name := entry.Name()
		if filepath.Ext(name) != gonix.NARInfoExtension {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list %s: %w", d.name, err)
		}
		text, err := d.dir.Read(name, maxNARInfo)
		var info *nix.NARInfo
		if err == nil {
			info, err = nix.ParseNARInfo(text)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s in %s: %w", name, d.name, err)
		}
		infos = append(infos, pathInfo(info))
	}
	return sorted(infos), nil
}

// OpenNAR opens the compressed file of a NAR. The file must be in the cache.
func (d *Dir) OpenNAR(info *nix.NARInfo) (*os.File, error) {
	f, err := d.openNAR(info)
	if err != nil {
		return nil, fmt.Errorf("open nar of %s: %w", info.StorePath, err)
	}
	return f, nil
}

func (d *Dir) openNAR(info *nix.NARInfo) (*os.File, error) {
	return d.dir.OpenRegular(filepath.FromSlash(info.URL))
}

func (d *Dir) file(name string) string { return filepath.Join(d.name, name) }

func infoName(path nix.StorePath) string { return path.Digest() + gonix.NARInfoExtension }
