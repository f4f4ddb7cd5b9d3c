package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// temporary returns the directory that an environment names for temporary files; empty for the default.
func temporary(env []string) (dir string) {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "TMPDIR="); ok {
			dir = value
		}
	}
	return dir
}

// makeNeighbours makes a directory for build directories, with some in it that look like those of Nix.
// Who builds may be another user, who has to get through.
func makeNeighbours(env []string) (string, error) {
	dir, err := os.MkdirTemp(temporary(env), "open-sesame-ci-neighbours-")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"nix-build-neighbour.drv-0", "nix-build-neighbour.drv-1"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "neighbour"), []byte("left by another build\n"), 0o644); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// removeAll removes what failed builds have kept there too, which may be read-only.
func removeAll(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir) // what is left of it harms nobody
}
