package nar

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
)

const magic = "nix-archive-1"

// Reader reads an archive entry by entry: a directory comes before its entries, and entries are sorted by name.
// Its memory does not depend on the archive.
type Reader struct {
	in      *input
	partial bool // the stream continues after the archive

	close func() error // of a reader that reads ahead

	started bool
	entry   Entry  // without its path
	path    []byte // of the current entry
	dirs    []int  // lengths of the paths of the open directories, outermost first
	inFile  bool   // the current entry is a file, and its end was not read yet
	left    int64  // bytes of its contents that were not read yet
}

// NewReader returns a reader of a stream that holds one archive.
func NewReader(r io.Reader) *Reader { return &Reader{in: newInput(r)} }

// IsNAR returns whether a file with these first bytes can be a NAR.
func IsNAR(head []byte) bool {
	start := words(magic)[:8+len(magic)] // without its padding
	return len(head) > 0 && strings.HasPrefix(start, string(head[:min(len(head), len(start))]))
}

// CopyTo copies the bytes of the archive to w as they are read. It is called before the first Next.
func (r *Reader) CopyTo(w io.Writer) { _ = r.in.copyTo(w) } // without an earlier writer, there is no error

// Next returns the next entry. It skips the unread contents of a file. After the last entry it returns [io.EOF], if the
// archive ends there.
func (r *Reader) Next() (*Entry, error) {
	if err := r.advance(); err != nil {
		return nil, err
	}
	e := r.entry
	e.Path = string(r.path)
	return &e, nil
}

// Peek returns the next bytes of the current file, valid until the next call, and [io.EOF] at its end.
func (r *Reader) Peek() ([]byte, error) {
	if r.left == 0 {
		return nil, io.EOF
	}
	have, err := r.in.peek()
	if err != nil {
		return nil, err
	}
	return have[:min(int64(len(have)), r.left)], nil
}

// Discard skips n bytes that Peek has returned.
func (r *Reader) Discard(n int) {
	r.in.at += n
	r.left -= int64(n)
}

// Read reads the contents of the current file.
func (r *Reader) Read(p []byte) (int, error) {
	have, err := r.Peek()
	if err != nil {
		return 0, err
	}
	n := copy(p, have)
	r.Discard(n)
	return n, nil
}

// skip skips the rest of the archive.
func (r *Reader) skip() error {
	for {
		if err := r.advance(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// advance reads the next entry, and makes it the current one.
func (r *Reader) advance() error {
	if !r.started {
		r.started = true
		if !r.partial {
			if head, err := r.in.peek(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			} else if !IsNAR(head) {
				return errors.New("not a NAR: it does not begin with " + magic)
			}
		}
		if err := r.in.expect(magic); err != nil {
			return err
		}
		return r.node()
	}
	if r.inFile {
		if err := r.endFile(); err != nil {
			return err
		}
	}
	for len(r.dirs) > 0 {
		word, err := r.in.string(maxWord)
		if err != nil {
			return err
		}
		if string(word) == "entry" {
			return r.directoryEntry()
		}
		if string(word) != ")" {
			return r.in.invalid("%q where %q must be", word, "entry")
		}
		last := len(r.dirs) - 1
		r.path, r.dirs = r.path[:r.dirs[last]], r.dirs[:last]
		if err := r.endEntry(); err != nil {
			return err
		}
	}
	return r.end()
}

// end returns [io.EOF] if the stream ends with the archive, or may continue.
func (r *Reader) end() error {
	if err := r.in.flush(); err != nil {
		return err
	}
	if r.partial {
		return io.EOF
	}
	ended, err := r.in.ended()
	switch {
	case err != nil:
		return err
	case !ended:
		return r.in.invalid("more bytes follow the end of the archive")
	}
	return io.EOF
}

// directoryEntry reads the name of an entry of the innermost directory, and the beginning of its node.
func (r *Reader) directoryEntry() error {
	if err := r.in.expect("(", "name"); err != nil {
		return err
	}
	name, err := r.in.string(maxName)
	if err != nil {
		return err
	}
	if !validName(name) {
		return r.in.invalid("%q is not a valid file name", name)
	}
	dir := r.dirs[len(r.dirs)-1]
	// The current path is that of the directory, or of the previous entry.
	previous := bytes.TrimPrefix(r.path[dir:], []byte("/"))
	if bytes.Compare(previous, name) >= 0 {
		return r.in.invalid("the name %q after %q is out of order", name, previous)
	}
	r.path = r.path[:dir]
	if dir > 0 {
		r.path = append(r.path, '/')
	}
	r.path = append(r.path, name...)
	if err := r.in.expect("node"); err != nil {
		return err
	}
	return r.node()
}

func validName(name []byte) bool {
	switch string(name) {
	case "", ".", "..":
		return false
	}
	return !bytes.ContainsAny(name, "/\x00")
}

// node reads a node up to the contents of a file, or the entries of a directory.
func (r *Reader) node() error {
	if len(r.dirs) > maxDepth {
		return r.in.invalid("directories nested deeper than %d", maxDepth)
	}
	if err := r.in.expect("(", "type"); err != nil {
		return err
	}
	kind, err := r.in.string(maxWord)
	if err != nil {
		return err
	}
	switch string(kind) {
	case "regular":
		return r.regular()
	case "symlink":
		return r.symlink()
	case "directory":
		r.entry = Entry{Type: Directory}
		r.dirs = append(r.dirs, len(r.path))
		return nil
	default:
		return r.in.invalid("%q is not a type of file", kind)
	}
}

func (r *Reader) regular() error {
	word, err := r.in.string(maxWord)
	if err != nil {
		return err
	}
	executable := string(word) == "executable"
	if executable {
		err = r.in.expect("", "contents")
	} else if string(word) != "contents" {
		err = r.in.invalid("%q where %q must be", word, "contents")
	}
	if err != nil {
		return err
	}
	n, err := r.in.uint64()
	if err != nil {
		return err
	}
	if n > math.MaxInt64 {
		return r.in.invalid("a file of %d bytes", n)
	}
	r.entry = Entry{Type: Regular, Executable: executable, Size: int64(n)}
	r.inFile, r.left = true, int64(n)
	return nil
}

func (r *Reader) symlink() error {
	if err := r.in.expect("target"); err != nil {
		return err
	}
	target, err := r.in.string(maxTarget)
	if err != nil {
		return err
	}
	r.entry = Entry{Type: Symlink, Target: string(target)}
	return r.endNode()
}

// endFile skips the rest of a file.
func (r *Reader) endFile() error {
	for r.left > 0 {
		have, err := r.Peek()
		if err != nil {
			return err
		}
		r.Discard(len(have))
	}
	r.inFile = false
	if err := r.in.padding(int(-r.entry.Size & 7)); err != nil {
		return err
	}
	return r.endNode()
}

func (r *Reader) endNode() error {
	if err := r.in.expect(")"); err != nil {
		return err
	}
	return r.endEntry()
}

// endEntry ends the directory entry of a node. The root has none.
func (r *Reader) endEntry() error {
	if len(r.dirs) == 0 {
		return nil
	}
	return r.in.expect(")")
}
