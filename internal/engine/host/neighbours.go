package host

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

// makeNeighbours makes a directory for build directories, with some in it that look like those of Nix.
// Builders may run as another user, and have to get through.
func (x *Executor) makeNeighbours() (*workdir.Dir, error) {
	dir, err := workdir.Make(x.variable("TMPDIR", ""), "neighbours")
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
