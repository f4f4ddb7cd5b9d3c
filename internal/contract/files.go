package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// How much of a file's contents is kept, in bytes: all of a text and of a small program, the head of other files.
const (
	keepText    = 1 << 20
	keepProgram = 128 << 10 // a wrapper that makeBinaryWrapper has compiled is smaller
	keepHead    = 1 << 10
	keepAll     = 64 << 20 // of all files together; after that, only heads
	keepFiles   = 1 << 18
)

// Files are the files of store objects, by their absolute paths.
type Files map[string]*File

// File is a file, a directory or a link.
type File struct {
	Mode   fs.FileMode
	Target string // of a link
	Data   []byte // the file's contents, or their beginning
	names  []string
}

// Executable reports whether the file can be executed.
func (f *File) Executable() bool { return f.Mode.IsRegular() && f.Mode&0o111 != 0 }

// IsELF reports whether the file is an ELF file.
func (f *File) IsELF() bool { return bytes.HasPrefix(f.Data, []byte("\x7fELF")) }

// ReadFiles reads a stream of nix-store --export. Its memory is bounded, whatever the stream holds.
func ReadFiles(stream io.Reader) (Files, error) {
	all, r := Files{}, &fileReader{left: keepAll, count: keepFiles}
	err := nar.ReadExport(stream, r.read, func(o nar.Object) error {
		for name, f := range r.files {
			all[path.Join(string(o.Path), name)] = f
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// fileReader reads the NARs of a stream, one after the other.
type fileReader struct {
	left  int64 // bytes of contents that may still be kept
	count int   // files that may still come
	files Files // of the last NAR, by their paths in it
}

func (r *fileReader) read(archive *nar.Reader) error {
	r.files = Files{}
	for {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.count--; r.count < 0 {
			return fmt.Errorf("more than %d files", keepFiles)
		}
		f := &File{Mode: modeOf(entry), Target: entry.Target}
		if f.Mode.IsRegular() {
			if f.Data, err = r.contents(archive, entry.Size); err != nil {
				return err
			}
		}
		name := path.Clean(entry.Path)
		r.files[name] = f
		if parent := r.files[path.Dir(name)]; parent != nil && name != "." {
			parent.names = append(parent.names, path.Base(name))
		}
	}
}

func modeOf(e *nar.Entry) fs.FileMode {
	switch {
	case e.Type == nar.Directory:
		return fs.ModeDir | 0o555
	case e.Type == nar.Symlink:
		return fs.ModeSymlink | 0o777
	case e.Executable:
		return 0o555
	}
	return 0o444
}

// contents reads the head of a file, which decides whether the rest is kept too.
func (r *fileReader) contents(in io.Reader, size int64) ([]byte, error) {
	head := make([]byte, min(size, keepHead))
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	limit := int64(keepText)
	if bytes.IndexByte(head, 0) >= 0 {
		limit = keepProgram
	}
	if size > limit || size > r.left {
		return head, nil
	}
	r.left -= size
	data := append(make([]byte, 0, size), head...)
	_, err := io.ReadFull(in, data[len(head):size])
	return data[:size], err
}

// maxLinks is the number of links that Linux follows.
const maxLinks = 40

// find returns the file at an absolute path in the store. It follows links, as the kernel does.
func (f Files) find(name string) (*File, error) {
	want := name
links:
	for range maxLinks + 1 {
		below, ok := strings.CutPrefix(path.Clean(name), string(nix.StoreDir)+"/")
		if !ok {
			return nil, fmt.Errorf("find %s: not in the store", want)
		}
		var file *File
		at, parts := string(nix.StoreDir), strings.Split(below, "/")
		for i, part := range parts {
			dir := at
			at = path.Join(dir, part)
			if file = f[at]; file == nil {
				return nil, fmt.Errorf("find %s: %w", want, fs.ErrNotExist)
			}
			if file.Mode.Type() == fs.ModeSymlink {
				if name = file.Target; !path.IsAbs(name) {
					name = path.Join(dir, name)
				}
				name = path.Join(append([]string{name}, parts[i+1:]...)...)
				continue links
			}
		}
		return file, nil
	}
	return nil, fmt.Errorf("find %s: too many links", want)
}
