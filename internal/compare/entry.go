package compare

import (
	"fmt"
	"strings"
)

// FileType is what a name of a tree stands for.
type FileType string

// The types of file that a NAR knows.
const (
	Regular   FileType = "file"
	Directory FileType = "directory"
	Symlink   FileType = "symlink"
)

// Entry is a file, a directory or a symbolic link of a tree.
type Entry struct {
	Type FileType `json:"type"`
	// Size is in bytes, of a regular file; of a directory that is on one side alone, that of all files below it.
	Size int64 `json:"size"`
	// Executable is the one bit of a file's mode that a NAR keeps.
	Executable bool `json:"executable,omitempty"`
	// Target is that of a symbolic link.
	Target string `json:"target,omitempty"`
	// Below is how many names are below a directory that is on one side alone.
	Below int `json:"below,omitempty"`

	path string // from the tree's root, with slashes; empty for the root
}

// Limits of Linux, so that what a stream says of its lengths is believed no further.
const (
	maxWord   = 16 // the longest word of the NAR grammar has 13 bytes
	maxName   = 255
	maxTarget = 4095
	maxDepth  = 2048
)

// order compares two paths of a walk: a directory comes before what is in it, and that before the next name.
func order(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			// A slash ends a name, and the shorter name comes first; no name has a NUL in it.
			return int(separated(a[i])) - int(separated(b[i]))
		}
	}
	return len(a) - len(b)
}

func separated(c byte) byte {
	if c == '/' {
		return 0
	}
	return c
}

func below(path, dir string) bool {
	return dir == "" && path != "" || strings.HasPrefix(path, dir) && len(path) > len(dir) && path[len(dir)] == '/'
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func checkName(name, last string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%q cannot name a file", name)
	case name <= last:
		return fmt.Errorf("the name %q after %q is out of order", name, last)
	}
	return nil
}
