package binarycache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// asideDir is the directory to which SetAside moves files.
const asideDir = ".damaged"

// Entry is a store object in the cache: a narinfo, and the file that it describes.
type Entry struct {
	Info *nix.NARInfo
	// InfoHash is the SHA-256 of the narinfo's text.
	InfoHash string
	// Identity identifies the unchanged file of the NAR: its device, inode, size, and the times of its last changes. No
	// program can set the change time.
	Identity string
}

// Entry looks an object up. It does not read the NAR, but the file must have the size that the narinfo states. If the cache
// does not have the object, the error is [ErrNotFound].
func (d *Dir) Entry(path nix.StorePath) (Entry, error) {
	e, f, err := d.openEntry(path)
	if err != nil {
		return Entry{}, fmt.Errorf("look up %s in %s: %w", path, d.name, err)
	}
	return e, f.Close()
}

// Check reads an object, and compares hash and size of the file and of the NAR with the narinfo.
func (d *Dir) Check(ctx context.Context, path nix.StorePath) (Entry, error) {
	e, err := d.check(ctx, path)
	if err != nil {
		return Entry{}, fmt.Errorf("verify %s in %s: %w", path, d.name, err)
	}
	return e, nil
}

func (d *Dir) check(ctx context.Context, path nix.StorePath) (Entry, error) {
	if ctx.Err() != nil {
		return Entry{}, context.Cause(ctx)
	}
	e, f, err := d.openEntry(path)
	if err != nil {
		return Entry{}, err
	}
	defer f.Close()
	if err := nar.VerifyFile(regular.Until(ctx, f), e.Info); err != nil {
		return Entry{}, err
	}
	stat, err := f.Stat()
	if err == nil && identity(stat) != e.Identity {
		err = errors.New("its file changed while it was read")
	}
	return e, err
}

func (d *Dir) openEntry(path nix.StorePath) (Entry, *os.File, error) {
	text, err := d.readInfo(path)
	if err != nil {
		return Entry{}, nil, err
	}
	info, err := parseInfo(text, path)
	if err != nil {
		return Entry{}, nil, err
	}
	if info.FileHash.IsZero() || info.FileSize == 0 { // Nix needs neither
		return Entry{}, nil, errors.New("its narinfo does not say what its file should be")
	}
	f, err := d.OpenNAR(info)
	if err != nil {
		return Entry{}, nil, err
	}
	stat, err := f.Stat()
	if err == nil {
		err = nar.CompareSize("file", stat.Size(), info.FileSize)
	}
	if err != nil {
		f.Close()
		return Entry{}, nil, err
	}
	sum := sha256.Sum256(text)
	return Entry{Info: info, InfoHash: hex.EncodeToString(sum[:]), Identity: identity(stat)}, f, nil
}

func identity(info fs.FileInfo) string {
	s := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d:%d:%d.%09d:%d.%09d", s.Dev, s.Ino, s.Size, s.Mtim.Sec, s.Mtim.Nsec, s.Ctim.Sec, s.Ctim.Nsec)
}

// SetAside moves the narinfo of an object to another directory, so that the object can be imported again, if isBad returns
// true. No other process changes the object during the call of isBad. The directory also gets a link to the file of the NAR.
// The file itself stays, because other objects may have the same. SetAside returns the directory; empty if it has moved
// nothing. It deletes nothing.
func (d *Dir) SetAside(p nix.StorePath, isBad func() bool) (string, error) {
	aside, err := d.setAside(p, isBad)
	if err != nil {
		return "", fmt.Errorf("set aside %s in %s: %w", p, d.name, err)
	}
	if aside == "" {
		return "", nil
	}
	return d.file(aside), nil
}

func (d *Dir) setAside(p nix.StorePath, isBad func() bool) (string, error) {
	if d.readOnly {
		return "", errReadOnly
	}
	unlock, err := d.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if has, err := d.has(p); err != nil || !has || !isBad() {
		return "", err
	}
	made, err := d.dir.Sub(asideDir).MakeTemp(p.Digest() + "-")
	if err != nil {
		return "", err
	}
	aside := path.Join(asideDir, filepath.Base(made.Name()))
	// A narinfo can name any file. Only files in the directory of NARs are linked.
	if info, err := d.info(p); err == nil && path.Dir(info.URL) == narDir {
		_ = d.dir.Link(info.URL, path.Join(aside, path.Base(info.URL))) // an error does not matter: the link is of little use
	}
	return aside, d.dir.Rename(infoName(p), path.Join(aside, infoName(p)))
}

// lock keeps other processes from making objects visible, and from setting them aside, until unlock is called.
func (d *Dir) lock() (unlock func(), err error) {
	unlock, err = d.dir.Lock()
	_, isPathError := errors.AsType[*fs.PathError](err)
	// A file system may have no locks. Then two runs at the same time can lose imported objects, and detect that.
	if err != nil && !isPathError && !errors.Is(err, regular.ErrLocked) {
		return func() {}, nil
	}
	return unlock, err
}
