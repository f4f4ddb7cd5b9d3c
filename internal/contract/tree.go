package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
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

// Tree is the files of a store object, by their slash-separated path in it; that of the object itself is ".".
type Tree struct{ files map[string]*File }

// File is a file, a directory or a link.
type File struct {
	Mode   fs.FileMode
	Target string // of a link
	Data   []byte // the file's contents, or their beginning
	Size   int64
	names  []string // of a directory's entries, in order
}

// Executable reports whether the file can be executed.
func (f *File) Executable() bool { return f.Mode.IsRegular() && f.Mode&0o111 != 0 }

// IsELF reports whether the file is an ELF file.
func (f *File) IsELF() bool { return bytes.HasPrefix(f.Data, []byte("\x7fELF")) }

// ReadTrees reads a stream of nix-store --export. Its memory is bounded, whatever the stream holds.
func ReadTrees(stream io.Reader) (map[nix.StorePath]*Tree, error) {
	trees := map[nix.StorePath]*Tree{}
	r := &treeReader{left: keepAll, files: keepFiles}
	err := nar.ReadExport(stream, r.read, func(o nar.Object) error {
		trees[o.Path] = r.tree
		return nil
	})
	if err != nil {
		return nil, err
	}
	return trees, nil
}

// treeReader reads the NARs of a stream, one after the other.
type treeReader struct {
	left  int64 // bytes of contents that may still be kept
	files int   // files that may still come
	tree  *Tree // the last one
}

func (r *treeReader) read(archive *nar.Reader) error {
	r.tree = &Tree{files: map[string]*File{}}
	for {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.files--; r.files < 0 {
			return fmt.Errorf("more than %d files", keepFiles)
		}
		f := &File{Mode: modeOf(entry), Target: entry.Target, Size: entry.Size}
		if f.Mode.IsRegular() {
			if f.Data, err = r.contents(archive, f.Size); err != nil {
				return err
			}
		}
		r.tree.add(path.Clean(entry.Path), f)
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
func (r *treeReader) contents(in io.Reader, size int64) ([]byte, error) {
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

func (t *Tree) add(name string, f *File) {
	t.files[name] = f
	if name == "." {
		return
	}
	if parent := t.files[path.Dir(name)]; parent != nil {
		parent.names = append(parent.names, path.Base(name))
	}
}

// walk returns the names of all files, in order.
func (t *Tree) walk() []string {
	var names []string
	for name := range t.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// objects are store objects with their files.
type objects map[nix.StorePath]*Tree

// maxLinks is the number of links that Linux follows.
const maxLinks = 40

// find returns the file at an absolute path in the store. It follows links, as the kernel does.
func (o objects) find(name string) (*File, error) {
	links := 0
	for {
		object, rest, err := splitStorePath(name)
		if err != nil {
			return nil, err
		}
		tree := o[object]
		if tree == nil {
			return nil, fmt.Errorf("find %s: not among the store objects that were read", name)
		}
		at, left := ".", strings.Split(rest, "/")
		next := ""
		for {
			f := tree.files[at]
			if f == nil {
				return nil, fmt.Errorf("find %s: %w", name, fs.ErrNotExist)
			}
			if f.Mode.Type() == fs.ModeSymlink {
				base := path.Dir(path.Join(string(object), at))
				if path.IsAbs(f.Target) {
					base = "/"
				}
				next = path.Join(append([]string{base, f.Target}, left...)...)
				break
			}
			if len(left) == 0 {
				return f, nil
			}
			at, left = path.Join(at, left[0]), left[1:]
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("find %s: too many links", name)
		}
		name = next
	}
}

// splitStorePath splits "/nix/store/…-name/bin/x" after the store object.
func splitStorePath(name string) (object nix.StorePath, rest string, err error) {
	below, ok := strings.CutPrefix(path.Clean(name), string(nix.StoreDir)+"/")
	if !ok {
		return "", "", fmt.Errorf("find %s: not in the store", name)
	}
	base, rest, _ := strings.Cut(below, "/")
	object, err = nix.ParseStorePath(string(nix.StoreDir) + "/" + base)
	return object, rest, err
}
