package binarycache

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// narWriter writes trees in the grammar that wireReader reads.
//
// zombiezen.com/go/nix/nar would do, but for names that are not UTF-8, which it refuses,
// for files that only the group or others may execute, which it takes for executable and Nix does not,
// and for its speed, a third of this.
type narWriter struct {
	ctx  context.Context // of the one tree that is written
	out  roomWriter
	buf  []byte // what is not written yet, in room of out; its capacity is that room
	size int64  // of what was
}

// The words between two names and contents, as they are in a NAR.
var (
	wordsMagic      = wireWords(narMagic)
	wordsEntry      = wireWords("entry", "(", "name")
	wordsNode       = wireWords("node")
	wordsEnd        = wireWords(")")
	wordsDirectory  = wireWords("(", "type", "directory")
	wordsSymlink    = wireWords("(", "type", "symlink", "target")
	wordsRegular    = wireWords("(", "type", "regular", "contents")
	wordsExecutable = wireWords("(", "type", "regular", "executable", "", "contents")
)

func wireWords(words ...string) string {
	var b []byte
	for _, s := range words {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
		b = append(b, make([]byte, -len(s)&7)...)
	}
	return string(b)
}

// writeTree writes the NAR of a tree and returns its size.
func writeTree(ctx context.Context, w io.Writer, path string) (int64, error) {
	out, ok := w.(roomWriter)
	if !ok {
		out = &buffered{w: w, buf: make([]byte, narBuffer)}
	}
	nw := &narWriter{ctx: ctx, out: out}
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	if err := nw.raw(wordsMagic); err != nil {
		return 0, err
	}
	if err := nw.node(path, info.Mode().Type()); err != nil {
		return 0, err
	}
	err = nw.written()
	return nw.size, err
}

// written passes on what is in the buffer.
func (w *narWriter) written() error {
	w.size += int64(len(w.buf))
	err := w.out.filled(len(w.buf))
	w.buf = nil
	return err
}

// next makes room in the buffer, where there is none. It is where the context is looked at, besides each directory.
func (w *narWriter) next() error {
	if len(w.buf) < cap(w.buf) {
		return nil
	}
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if len(w.buf) > 0 {
		if err := w.written(); err != nil {
			return err
		}
	}
	room, err := w.out.room(narBuffer)
	w.buf = room[:0:len(room)]
	return err
}

// raw writes what is serialised already.
func (w *narWriter) raw(s string) error {
	for len(s) > 0 {
		if err := w.next(); err != nil {
			return err
		}
		n := min(len(s), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, s[:n]...)
		s = s[n:]
	}
	return nil
}

// length writes the length that precedes bytes.
func (w *narWriter) length(n int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	return w.raw(string(b[:]))
}

// padding writes the zeros that follow n bytes.
func (w *narWriter) padding(n int64) error { return w.raw("\x00\x00\x00\x00\x00\x00\x00"[:-n&7]) }

// text writes a name or a target.
func (w *narWriter) text(s string) error {
	if err := w.length(int64(len(s))); err != nil {
		return err
	}
	if err := w.raw(s); err != nil {
		return err
	}
	return w.padding(int64(len(s)))
}

func (w *narWriter) node(path string, typ fs.FileMode) error {
	var err error
	switch typ {
	case 0:
		err = w.regular(path)
	case fs.ModeSymlink:
		err = w.symlink(path)
	case fs.ModeDir:
		err = w.directory(path)
	default:
		return fmt.Errorf("%s: a file of type %v has no place in a NAR", path, typ)
	}
	if err != nil {
		return err
	}
	return w.raw(wordsEnd)
}

func (w *narWriter) symlink(path string) error {
	target, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if err := w.raw(wordsSymlink); err != nil {
		return err
	}
	return w.text(target)
}

func (w *narWriter) directory(path string) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	entries, err := os.ReadDir(path) // in the order of a NAR: by the names' bytes
	if err != nil {
		return err
	}
	if err := w.raw(wordsDirectory); err != nil {
		return err
	}
	for _, entry := range entries {
		if err := w.entry(path, entry); err != nil {
			return err
		}
	}
	return nil
}

func (w *narWriter) entry(dir string, entry fs.DirEntry) error {
	name := entry.Name()
	if err := w.raw(wordsEntry); err != nil {
		return err
	}
	if err := w.text(name); err != nil {
		return err
	}
	if err := w.raw(wordsNode); err != nil {
		return err
	}
	if err := w.node(dir+"/"+name, entry.Type()); err != nil {
		return err
	}
	return w.raw(wordsEnd)
}
