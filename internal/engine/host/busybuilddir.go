package host

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

// makeBusyBuildDir makes a build directory that looks as if other builds run in it.
// Builders may run as another user and need search permission.
func (x *Executor) makeBusyBuildDir() (*workdir.Dir, error) {
	dir, err := workdir.Make(x.variable("TMPDIR", ""), "builds")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"nix-build-neighbour.drv-0", "nix-build-neighbour.drv-1"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(dir.Path, name), 0o700))
	}
	err = errors.Join(err,
		os.WriteFile(filepath.Join(dir.Path, "neighbour"), []byte("left by another build\n"), 0o644),
		os.Chmod(dir.Path, 0o755))
	if err != nil {
		return nil, errors.Join(err, dir.Remove())
	}
	return dir, nil
}
