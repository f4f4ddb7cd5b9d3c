package compare

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

const narMagic = "nix-archive-1"

// narWalker walks through a NAR, whose grammar is on the Nix manual's page "Nix Archive (NAR) format".
// Package binarycache reads the same grammar, but drives its reader; two archives side by side have to be asked for
// one entry at a time. Directories come before what is in them, and names in the order of their bytes.
type narWalker struct {
	in     *blockReader
	closer io.Closer

	dirs    []narDir // the directories that are open, outermost first
	begun   bool
	left    int64 // bytes of contents still to come
	padding int64 // bytes behind them
	inFile  bool
	scratch [maxTarget + 9]byte
}

// narDir is a directory that has not ended yet.
type narDir struct {
	path string
	last string // the name before
}

func newNARWalker(ctx context.Context, r io.ReadCloser) *narWalker {
	return &narWalker{in: newBlockReader(ctx, r), closer: r}
}

// close frees what the walk holds, and waits for what it has started.
func (w *narWalker) close() error {
	w.in.close()
	return w.closer.Close()
}

// next returns the next entry, and [io.EOF] behind the last. What was not read of a file's contents is passed over.
func (w *narWalker) next() (*Entry, error) {
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
		dir := &w.dirs[len(w.dirs)-1]
		word, err := w.word()
		if err != nil {
			return nil, err
		}
		if word == "entry" {
			return w.entry(dir)
		}
		if word != ")" {
			return nil, w.invalid("%q where %q is due", word, "entry")
		}
		w.dirs = w.dirs[:len(w.dirs)-1]
		if err := w.endEntry(); err != nil {
			return nil, err
		}
	}
	if _, err := w.in.peek(); err == nil {
		return nil, w.invalid("more bytes follow the archive's end")
	} else if !errors.Is(err, io.EOF) {
		return nil, w.in.readError(err)
	}
	return nil, io.EOF
}

// magic reads the first word, as far as it tells a NAR from something else.
func (w *narWalker) magic() error {
	p, err := w.in.peek()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !looksLikeNAR(p) {
		return errors.New("not a NAR: it does not begin with " + narMagic)
	}
	return w.expect(narMagic)
}

// looksLikeNAR looks at a file's first bytes, however few they are.
func looksLikeNAR(head []byte) bool {
	const start = "\x0d\x00\x00\x00\x00\x00\x00\x00" + narMagic
	return len(head) > 0 && strings.HasPrefix(start, string(head[:min(len(head), len(start))]))
}

// entry reads an entry of a directory as far as what is to be known of it.
func (w *narWalker) entry(dir *narDir) (*Entry, error) {
	if err := w.expect("(", "name"); err != nil {
		return nil, err
	}
	name, err := w.text(maxName)
	if err != nil {
		return nil, err
	}
	if err := checkName(name, dir.last); err != nil {
		return nil, w.invalid("%v", err)
	}
	dir.last = name
	if err := w.expect("node"); err != nil {
		return nil, err
	}
	return w.node(join(dir.path, name))
}

func (w *narWalker) node(path string) (*Entry, error) {
	if err := w.expect("(", "type"); err != nil {
		return nil, err
	}
	kind, err := w.word()
	if err != nil {
		return nil, err
	}
	e := &Entry{path: path}
	switch kind {
	case "directory":
		if len(w.dirs) > maxDepth {
			return nil, w.invalid("directories nested deeper than %d", maxDepth)
		}
		e.Type = Directory
		w.dirs = append(w.dirs, narDir{path: path})
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
	return nil, w.invalid("%q is no type of file", kind)
}

// regular reads a file as far as its contents.
func (w *narWalker) regular(e *Entry) error {
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
		return w.invalid("%q where %q is due", word, "contents")
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

// peek returns the next bytes of the file that next has returned, valid until the next call; [io.EOF] behind the last.
func (w *narWalker) peek() ([]byte, error) {
	if w.left == 0 {
		return nil, io.EOF
	}
	p, err := w.in.peek()
	if err != nil {
		return nil, w.in.readError(err)
	}
	return p[:min(int64(len(p)), w.left)], nil
}

// discard passes over n bytes of what peek has returned.
func (w *narWalker) discard(n int) {
	w.in.discard(n)
	w.left -= int64(n)
}

// endFile passes over what is left of a file.
func (w *narWalker) endFile() error {
	if !w.inFile {
		return nil
	}
	w.inFile = false
	for w.left > 0 {
		p, err := w.peek()
		if err != nil {
			return err
		}
		w.discard(len(p))
	}
	if err := w.zeros(w.padding); err != nil {
		return err
	}
	return w.endNode()
}

func (w *narWalker) endNode() error {
	if err := w.expect(")"); err != nil {
		return err
	}
	return w.endEntry()
}

// endEntry closes the entry that a node is in. The root is in none.
func (w *narWalker) endEntry() error {
	if len(w.dirs) == 0 {
		return nil
	}
	return w.expect(")")
}

func (w *narWalker) length() (uint64, error) {
	if err := w.in.read(w.scratch[:8]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(w.scratch[:8]), nil
}

// text reads a string of at most limit bytes.
func (w *narWalker) text(limit int) (string, error) {
	b, err := w.bytes(limit)
	return string(b), err
}

// word reads a word of the grammar.
func (w *narWalker) word() (string, error) {
	b, err := w.bytes(maxWord)
	for _, known := range words {
		if string(b) == known {
			return known, err // without an allocation for each
		}
	}
	return string(b), err
}

var words = []string{"(", ")", "type", "entry", "name", "node", "regular", "contents", "directory", "symlink", "target", "executable", ""}

func (w *narWalker) bytes(limit int) ([]byte, error) {
	n, err := w.length()
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, w.invalid("a string of %d bytes, where %d are the most", n, limit)
	}
	b := w.scratch[8 : 8+n]
	if err := w.in.read(b); err != nil {
		return nil, err
	}
	return b, w.zeros(-int64(n) & 7)
}

func (w *narWalker) zeros(n int64) error {
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

func (w *narWalker) expect(words ...string) error {
	for _, want := range words {
		got, err := w.word()
		if err != nil {
			return err
		}
		if got != want {
			return w.invalid("%q where %q is due", got, want)
		}
	}
	return nil
}

func (w *narWalker) invalid(format string, args ...any) error {
	return fmt.Errorf("at byte %d: "+format, append([]any{w.in.pos}, args...)...)
}
