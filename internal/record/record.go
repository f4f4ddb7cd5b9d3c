// Package record keeps the facts about store objects and finished builds that the runs of this user have observed, in a
// directory outside of any tree.
//
// The directory of results (OUT) may come from anywhere: with a checkout, from another machine, from a cache of a CI
// service. Its data about an object is trusted only if this record has the same.
package record

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

const (
	objectsDir  = "objects"
	cellsDir    = "cells"
	journalsDir = "journals"

	// maxFile is the maximum size of a file of the record: 2^16 references fit.
	maxFile = 16 << 20
)

// Record is a directory that belongs to this user alone, with one small JSON file for each store object and each cell.
// It is safe for concurrent use, also by several processes.
type Record struct {
	dir      *regular.Dir
	writable bool
	mu       sync.Mutex // for changes
}

var errReadOnly = errors.New("the record is open for reading only")

// Dir returns the directory of the record: XDG_STATE_HOME/open-sesame-ci, or ~/.local/state/open-sesame-ci.
func Dir(stateHome, home string) (string, error) {
	base := stateHome
	if base == "" && home != "" {
		base = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(base) {
		return "", hint.Wrap(errors.New("find directory for the record of builds: neither XDG_STATE_HOME nor HOME is an absolute path"),
			"set XDG_STATE_HOME to a directory of this user's")
	}
	return filepath.Join(base, "open-sesame-ci"), nil
}

// Open opens the record in a directory, and creates the directory if there is none. It refuses a directory that other
// users can write to, or have made.
func Open(path string) (*Record, error) { return openRecord(path, true) }

// OpenReadOnly opens the record in a directory for reading, and creates nothing. A missing directory is an empty record.
func OpenReadOnly(path string) (*Record, error) { return openRecord(path, false) }

func openRecord(path string, writable bool) (*Record, error) {
	r := &Record{dir: regular.NewDir(path), writable: writable}
	err := r.check()
	if errors.Is(err, fs.ErrNotExist) && !writable {
		return r, nil
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("open record of builds: %w", err)
	}
	return r, nil
}

// check checks the directory, and opens it.
func (r *Record) check() error {
	path := r.Path()
	if r.writable {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	info, err := os.Lstat(path)
	if err == nil {
		err = errors.Join(checkDir(path, info), checkAbove(path))
	}
	if err == nil {
		info, err = r.dir.Stat(".")
	}
	if err == nil {
		err = checkDir(path, info) // it may be another directory than before
	}
	return err
}

// checkDir returns an error for a directory that other users can read or write: they may have changed the record.
func checkDir(path string, info fs.FileInfo) error {
	switch owner := info.Sys().(*syscall.Stat_t).Uid; {
	case info.Mode().Type() == fs.ModeSymlink:
		return hint.Wrap(fmt.Errorf("%s is a symbolic link", path), "remove it, or set XDG_STATE_HOME to another directory")
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", path)
	case int(owner) != os.Geteuid():
		return hint.Wrap(fmt.Errorf("%s belongs to another user (uid %d)", path, owner), "set XDG_STATE_HOME to a directory of this user's")
	case info.Mode().Perm()&0o077 != 0:
		return hint.Wrap(fmt.Errorf("%s has the mode %#o: other users have access to it", path, info.Mode().Perm()),
			"if only you have written to it: chmod -R go= %s", hint.Quote(path))
	}
	return nil
}

// checkAbove returns an error for a directory that every user can replace.
func checkAbove(path string) error {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	for ; err == nil; dir = filepath.Dir(dir) {
		var info fs.FileInfo
		if info, err = os.Stat(dir); err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return hint.Wrap(fmt.Errorf("every user may write to %s, and replace %s", dir, path), "chmod o-w %s, or set XDG_STATE_HOME to another directory", hint.Quote(dir))
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return err
}

// Path returns the directory.
func (r *Record) Path() string { return r.dir.Name() }

// Close closes the directory.
func (r *Record) Close() { r.dir.Close() }

// Cell reads the value that SetCell has stored under the key. It returns false if there is none, and an error if it cannot
// be read.
func (r *Record) Cell(key, value any) (bool, error) {
	name, err := cellFile(key)
	if err == nil {
		err = r.read(name, value)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, hint.Wrap(fmt.Errorf("read record %s: %w", r.dir.File(name), err), "if it is damaged: rm %s", hint.Quote(r.dir.File(name)))
	}
	return true, nil
}

// SetCell stores a value under a key. Both are encoded as JSON.
func (r *Record) SetCell(key, value any) error {
	name, err := cellFile(key)
	if err == nil {
		err = r.writeJSON(name, value, false)
	}
	if err != nil {
		return fmt.Errorf("record outputs: %w", err)
	}
	return nil
}

func cellFile(key any) (string, error) {
	text, err := json.Marshal(key)
	return filepath.Join(cellsDir, digest(text)+".json"), err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// read reads a file of the record.
func (r *Record) read(name string, value any) error {
	data, err := r.dir.Read(name, maxFile)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}

func (r *Record) writeJSON(name string, value any, sync bool) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return r.write(name, data, sync)
}

// write replaces a file. With sync, it is on disk then.
func (r *Record) write(name string, data []byte, sync bool) error {
	if !r.writable {
		return errReadOnly
	}
	if !sync {
		return r.dir.WriteUnsynced(name, data)
	}
	if err := r.dir.Write(name, data); err != nil {
		return err
	}
	return r.dir.Sub(filepath.Dir(name)).Sync()
}

// change calls f while no other process changes the record.
func (r *Record) change(f func() error) error {
	if !r.writable {
		return errReadOnly
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	unlock, err := r.dir.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return f()
}

// Writable returns whether the record can be changed.
func (r *Record) Writable() bool { return r.writable }
