package nar

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
	// Executable is the only bit of the mode that a NAR has.
	Executable bool `json:"executable,omitempty"`
	// Target is the target of a symbolic link.
	Target string `json:"target,omitempty"`
}

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
