package run

import (
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
)

// Line is a line of a file of the flake's tree.
type Line struct {
	// File is relative to the tree, as a forge shows it.
	File string `json:"file"`
	Line int    `json:"line"`
}

// LineIn returns the line of a file that the snapshot has, and nil where it has no such file. The file's name is relative
// to the flake's own directory, or else to the root of the tree.
func LineIn(s Snapshot, file, line string) *Line {
	n, err := strconv.Atoi(line)
	if err != nil || n < 1 || s.Dir == "" {
		return nil
	}
	for _, name := range []string{path.Join(s.Subdir, file), path.Clean(file)} {
		if !filepath.IsLocal(name) {
			continue
		}
		if info, err := os.Lstat(filepath.Join(s.Dir, filepath.FromSlash(name))); err == nil && info.Mode().IsRegular() {
			return &Line{File: name, Line: n}
		}
	}
	return nil
}

// Snapshot is the exact tree of a flake that a run builds. Package flake takes it.
type Snapshot = flake.Snapshot
