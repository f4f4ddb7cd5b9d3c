package host

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

// makeDir makes a working directory with subdirectories. Builders may run as another user and need search permission.
func (x *Executor) makeDir(kind string, subdirs map[string]os.FileMode) (*workdir.Dir, error) {
	dir, err := workdir.Make(x.variable("TMPDIR", ""), kind)
	if err != nil {
		return nil, err
	}
	err = os.Chmod(dir.Path, 0o755)
	for name, mode := range subdirs {
		path := filepath.Join(dir.Path, name)
		err = errors.Join(err, os.Mkdir(path, 0o700), os.Chmod(path, mode))
	}
	if err != nil {
		return nil, errors.Join(err, dir.Remove())
	}
	return dir, nil
}

// makeBusyBuildDir makes a build directory that looks as if other builds run in it.
func (x *Executor) makeBusyBuildDir() (*workdir.Dir, error) {
	dir, err := x.makeDir("builds", map[string]os.FileMode{"nix-build-neighbour.drv-0": 0o700, "nix-build-neighbour.drv-1": 0o700})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir.Path, "neighbour"), []byte("left by another build\n"), 0o644); err != nil {
		return nil, errors.Join(err, dir.Remove())
	}
	return dir, nil
}
