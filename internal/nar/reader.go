// Package nar reads the archives of Nix, which are described on the page "Nix Archive (NAR) format" of its manual.
package nar

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

const magicWord = "nix-archive-1"

// Reader reads a NAR entry by entry, and the contents of each file as a stream. The names of a directory are in the order
// of their bytes, and a directory comes before its entries. Memory does not depend on the archive.
type Reader struct {
	in     *blockReader
	closer io.Closer

	dirs    []dir // the open directories, outermost first
	begun   bool
	left    int64 // unread bytes of the current file
	padding int64 // bytes after the file
	inFile  bool
	scratch [maxTarget + 9]byte
}

// dir is a directory whose end was not read yet.
type dir struct {
	path string
	last string // the previous name
}

// NewReader reads r, and closes it in Close. A goroutine reads ahead: r.Read has to return in the end, or when ctx is done.
func NewReader(ctx context.Context, r io.ReadCloser) *Reader {
	return &Reader{in: newBlockReader(ctx, r), closer: r}
}

// Close stops the goroutine, waits for it, and closes the stream.
func (w *Reader) Close() error {
	w.in.close()
	return w.closer.Close()
}

// Next returns the next entry, and [io.EOF] after the last one. It skips unread contents of the current file.
func (w *Reader) Next() (*Entry, error) {
	if !w.begun {
		w.begun = true
		if err := w.magic(); err != nil {
			return nil, err
		}
		return w.node("")
	}
	if err := w.endFile(); err != nil {
		return nil, err
	}
	for len(w.dirs) > 0 {
		d := &w.dirs[len(w.dirs)-1]
		word, err := w.word()
		if err != nil {
			return nil, err
		}
		if word == "entry" {
			return w.entry(d)
		}
		if word != ")" {
			return nil, w.invalid("%q where %q must be", word, "entry")
		}
		w.dirs = w.dirs[:len(w.dirs)-1]
		if err := w.endEntry(); err != nil {
			return nil, err
		}
	}
	if _, err := w.in.peek(); err == nil {
		return nil, w.invalid("more bytes follow the end of the archive")
	} else if !errors.Is(err, io.EOF) {
		return nil, w.in.readError(err)
	}
	return nil, io.EOF
}

// magic reads the first word.
func (w *Reader) magic() error {
	p, err := w.in.peek()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !IsNAR(p) {
		return errors.New("not a NAR: it does not begin with " + magicWord)
	}
	return w.expect(magicWord)
}

// IsNAR reports whether head, the first bytes of a file, can be those of a NAR.
func IsNAR(head []byte) bool {
	const start = "\x0d\x00\x00\x00\x00\x00\x00\x00" + magicWord
	return len(head) > 0 && strings.HasPrefix(start, string(head[:min(len(head), len(start))]))
}

// entry reads an entry of a directory up to its contents.
func (w *Reader) entry(d *dir) (*Entry, error) {
	if err := w.expect("(", "name"); err != nil {
		return nil, err
	}
	name, err := w.text(maxName)
	if err != nil {
		return nil, err
	}
	if err := checkName(name, d.last); err != nil {
		return nil, w.invalid("%v", err)
	}
	d.last = name
	if err := w.expect("node"); err != nil {
		return nil, err
	}
	return w.node(join(d.path, name))
}

func (w *Reader) node(path string) (*Entry, error) {
	if err := w.expect("(", "type"); err != nil {
		return nil, err
	}
	kind, err := w.word()
	if err != nil {
		return nil, err
	}
	e := &Entry{Path: path}
	switch kind {
	case "directory":
		if len(w.dirs) > maxDepth {
			return nil, w.invalid("directories nested deeper than %d", maxDepth)
		}
		e.Type = Directory
		w.dirs = append(w.dirs, dir{path: path})
		return e, nil
	case "regular":
		e.Type = Regular
		return e, w.regular(e)
	case "symlink":
		e.Type = Symlink
		if err := w.expect("target"); err != nil {
			return nil, err
		}
		if e.Target, err = w.text(maxTarget); err != nil {
			return nil, err
		}
		return e, w.endNode()
	}
	return nil, w.invalid("%q is not a type of file", kind)
}

// regular reads a file up to its contents.
func (w *Reader) regular(e *Entry) error {
	word, err := w.word()
	if err != nil {
		return err
	}
	if word == "executable" {
		e.Executable = true
		if err := w.expect("", "contents"); err != nil {
			return err
		}
	} else if word != "contents" {
		return w.invalid("%q where %q must be", word, "contents")
	}
	n, err := w.length()
	if err != nil {
		return err
	}
	if n > 1<<62 {
		return w.invalid("a file of %d bytes", n)
	}
	e.Size = int64(n)
	w.left, w.padding, w.inFile = e.Size, -e.Size&7, true
	return nil
}

// Peek returns the next bytes of the current file, valid until the next call, and [io.EOF] after the last one.
func (w *Reader) Peek() ([]byte, error) {
	if w.left == 0 {
		return nil, io.EOF
	}
	p, err := w.in.peek()
	if err != nil {
		return nil, w.in.readError(err)
	}
	return p[:min(int64(len(p)), w.left)], nil
}

// Discard skips n bytes that Peek has returned.
func (w *Reader) Discard(n int) {
	w.in.discard(n)
	w.left -= int64(n)
}

// endFile skips the rest of a file.
func (w *Reader) endFile() error {
	if !w.inFile {
		return nil
	}
	w.inFile = false
	for w.left > 0 {
		p, err := w.Peek()
		if err != nil {
			return err
		}
		w.Discard(len(p))
	}
	if err := w.zeros(w.padding); err != nil {
		return err
	}
	return w.endNode()
}

func (w *Reader) endNode() error {
	if err := w.expect(")"); err != nil {
		return err
	}
	return w.endEntry()
}

// endEntry ends the entry of a node. The root has none.
func (w *Reader) endEntry() error {
	if len(w.dirs) == 0 {
		return nil
	}
	return w.expect(")")
}

func (w *Reader) length() (uint64, error) {
	if err := w.in.read(w.scratch[:8]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(w.scratch[:8]), nil
}

// text reads a string of at most limit bytes.
func (w *Reader) text(limit int) (string, error) {
	b, err := w.bytes(limit)
	return string(b), err
}

// word reads a word of the grammar.
func (w *Reader) word() (string, error) {
	b, err := w.bytes(maxWord)
	for _, known := range words {
		if string(b) == known {
			return known, err // without an allocation for each
		}
	}
	return string(b), err
}

var words = []string{"(", ")", "type", "entry", "name", "node", "regular", "contents", "directory", "symlink", "target", "executable", ""}

func (w *Reader) bytes(limit int) ([]byte, error) {
	n, err := w.length()
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, w.invalid("a string of %d bytes; the limit is %d", n, limit)
	}
	b := w.scratch[8 : 8+n]
	if err := w.in.read(b); err != nil {
		return nil, err
	}
	return b, w.zeros(-int64(n) & 7)
}

func (w *Reader) zeros(n int64) error {
	b := w.scratch[:n]
	if err := w.in.read(b); err != nil {
		return err
	}
	for _, c := range b {
		if c != 0 {
			return w.invalid("padding that is not zero")
		}
	}
	return nil
}

func (w *Reader) expect(words ...string) error {
	for _, want := range words {
		got, err := w.word()
		if err != nil {
			return err
		}
		if got != want {
			return w.invalid("%q where %q must be", got, want)
		}
	}
	return nil
}

func (w *Reader) invalid(format string, args ...any) error {
	return fmt.Errorf("at byte %d: "+format, append([]any{w.in.pos}, args...)...)
}
