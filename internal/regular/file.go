package regular

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file of a directory, which need not exist.
type File struct {
	Dir  *Dir
	Base string
}

// AnyFile returns a file that the user has named, in any existing directory.
func AnyFile(name string) File {
	return File{&Dir{&top{path: filepath.Dir(name), anyone: true, exists: true}, "."}, filepath.Base(name)}
}

// Path returns the file's path, for messages and for other programs.
func (f File) Path() string { return f.Dir.File(f.Base) }

// OpenRegular opens the file for reading.
func (f File) OpenRegular() (*os.File, error) { return f.Dir.OpenRegular(f.Base) }

// Read reads the file, of at most limit bytes.
func (f File) Read(limit int64) ([]byte, error) { return f.Dir.Read(f.Base, limit) }

// Write replaces the file by one with the data.
func (f File) Write(data []byte) error { return f.Dir.Write(f.Base, data) }

// Replace replaces the file by one with the output of fill.
func (f File) Replace(mode fs.FileMode, fill func(io.Writer) error) error {
	return f.Dir.Replace(f.Base, mode, fill)
}
