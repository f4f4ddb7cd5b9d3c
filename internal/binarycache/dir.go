package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// ErrNotFound says that a binary cache does not have a store object.
var ErrNotFound = errors.New("not in the binary cache")

var errReadOnly = errors.New("the cache is open for reading only")

const (
	narDir      = "nar"
	incomingDir = ".incoming"

	// leftoverAge is how long a killed run's files stay. No import goes so long without writing.
	leftoverAge = 24 * time.Hour
	// maxNARInfo is the most bytes that are read as a narinfo: [maxRefs] references fit.
	maxNARInfo = 8 << 20
)

// Dir is a directory that is a binary cache.
// It is safe for concurrent use, and several processes may import into one directory at once.
type Dir struct {
	path     string
	dir      *regular.Dir
	readOnly bool
}

// Open opens the binary cache in a directory and creates it where there is none.
// What a killed run has left there a day ago or earlier is removed.
func Open(path string) (*Dir, error) { return OpenIn(regular.NewDir(path)) }

// OpenIn is [Open] for a directory below one of results.
func OpenIn(dir *regular.Dir) (*Dir, error) {
	d, err := newDir(dir)
	if err != nil {
		return nil, err
	}
	if err := d.create(); err != nil {
		err = fmt.Errorf("open binary cache %s: %w", d.path, err)
		switch {
		case errors.Is(err, syscall.EROFS):
			err = hint.Wrap(err, "choose a directory on a file system that is not read-only")
		case errors.Is(err, fs.ErrPermission):
			err = hint.Wrap(err, "choose another directory, or make this one yours with: sudo chown -R \"$(id -u)\" %s", d.path)
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
		return nil, fmt.Errorf("open binary cache %s: %w", d.path, err)
	}
	return d, nil
}

func newDir(dir *regular.Dir) (*Dir, error) {
	path, err := filepath.Abs(dir.Name())
	if err != nil {
		return nil, fmt.Errorf("open binary cache: %w", err)
	}
	return &Dir{path: path, dir: dir}, nil
}

// Name returns the directory's absolute path; "file://" and the name make a substituter's URL.
func (d *Dir) Name() string { return d.path }

// Missing returns those of the paths that have no narinfo here, in the order given.
func (d *Dir) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	var missing []nix.StorePath
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		has, err := d.has(path)
		if err != nil {
			return nil, fmt.Errorf("look up %s in %s: %w", path, d.path, err)
		}
		if !has {
			missing = append(missing, path)
		}
	}
	return missing, nil
}

func (d *Dir) has(path nix.StorePath) (bool, error) {
	_, err := d.dir.Stat(infoName(path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Info returns the metadata of a store object. Where the cache does not have it, the error is [ErrNotFound].
func (d *Dir) Info(path nix.StorePath) (*nix.NARInfo, error) {
	info, err := d.info(path)
	if err != nil {
		return nil, fmt.Errorf("read narinfo of %s in %s: %w", path, d.path, err)
	}
	return info, nil
}

func (d *Dir) info(path nix.StorePath) (*nix.NARInfo, error) {
	info, err := d.readInfo(infoName(path))
	if err != nil {
		return nil, err
	}
	if info.StorePath != path {
		return nil, fmt.Errorf("it is that of %s", info.StorePath)
	}
	return info, nil
}

func (d *Dir) readInfo(name string) (*nix.NARInfo, error) {
	data, err := d.dir.Read(name, maxNARInfo)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return nix.ParseNARInfo(data)
}

// OpenNAR opens the file that info names, compressed as info says.
// A name that leads out of the cache is refused.
func (d *Dir) OpenNAR(info *nix.NARInfo) (*os.File, error) {
	f, err := d.dir.OpenRegular(filepath.FromSlash(info.URL))
	if err != nil {
		return nil, fmt.Errorf("open nar of %s: %w", info.StorePath, err)
	}
	return f, nil
}

// Dump writes the NAR of a store object to w, not compressed.
// Its hash is not looked at; see [Dir.Verify].
func (d *Dir) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	info, err := d.Info(path)
	if err != nil {
		return err
	}
	f, err := d.OpenNAR(info)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := nar.Decompress(w, regular.Until(ctx, f), info); err != nil {
		return fmt.Errorf("unpack nar of %s: %w", path, err)
	}
	return nil
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

func infoName(path nix.StorePath) string { return path.Digest() + gonix.NARInfoExtension }
