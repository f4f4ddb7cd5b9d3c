package binarycache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Another user who can read the cache can lock it. An import does not wait for the lock without a limit.
func TestLockOfTheCacheHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := Open(filepath.Join(t.TempDir(), "cache"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := d.dir.OpenItself()
		if err == nil {
			defer f.Close()
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.lock(); !errors.Is(err, regular.ErrLocked) {
			t.Errorf("error %v", err)
		}
	})
}

// Only the lack of locks in a file system lets an import go on without one.
func TestLockOfACacheThatCannotBeOpenedFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	d, err := Open(dir)
	if err == nil {
		d.dir.Close()
		err = os.RemoveAll(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.lock(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
