package nar

import (
	"fmt"
	"strings"
)

// Type is the type of a file.
type Type string

// The types that a NAR has.
const (
	Regular   Type = "file"
	Directory Type = "directory"
	Symlink   Type = "symlink"
)

// Entry is a file, a directory or a symbolic link.
type Entry struct {
	Path string `json:"-"` // from the root of the archive, with slashes; empty for the root
	Type Type   `json:"type"`
	// Size is the number of bytes of a regular file.
	Size int64 `json:"size"`
	// Executable is the only bit of a file's mode that a NAR has.
	Executable bool `json:"executable,omitempty"`
	// Target is the target of a symbolic link.
	Target string `json:"target,omitempty"`
}

// Limits of Linux. A longer string makes an archive invalid.
const (
	maxWord   = 16 // the longest word of the grammar has 13 bytes
	maxName   = 255
	maxTarget = 4095
	maxDepth  = 2048
)

// Order compares two paths in the order of an archive: a directory, its entries, the next name.
func Order(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			// A slash ends a name, and the shorter name is first. No name contains a NUL.
			return int(separator(a[i])) - int(separator(b[i]))
		}
	}
	return len(a) - len(b)
}

func separator(c byte) byte {
	if c == '/' {
		return 0
	}
	return c
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
		return fmt.Errorf("%q is not a valid file name", name)
	case name <= last:
		return fmt.Errorf("the name %q after %q is out of order", name, last)
	}
	return nil
}
