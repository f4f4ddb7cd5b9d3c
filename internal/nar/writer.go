package nar

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// treeWriter writes the archive of a tree on disk.
//
// It does not use zombiezen.com/go/nix/nar, which writes a file as executable that only the group or others may execute.
// Nix does not. It also has a third of this speed.
type treeWriter struct {
	ctx  context.Context // of one call of writeTree
	out  BufferedWriter
	buf  []byte // bytes that are not committed yet, in a buffer of out
	size int64  // bytes committed
}

// The serialised words between names and contents.
var (
	wordsMagic      = words(magic)
	wordsEntry      = words("entry", "(", "name")
	wordsNode       = words("node")
	wordsEnd        = words(")")
	wordsDirectory  = words("(", "type", "directory")
	wordsSymlink    = words("(", "type", "symlink", "target")
	wordsRegular    = words("(", "type", "regular", "contents")
	wordsExecutable = words("(", "type", "regular", "executable", "", "contents")
)

func words(words ...string) string {
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
	out, ok := w.(BufferedWriter)
	if !ok {
		out = &buffered{w: w, buf: make([]byte, narBuffer)}
	}
	tw := &treeWriter{ctx: ctx, out: out}
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	if err := tw.raw(wordsMagic); err != nil {
		return 0, err
	}
	if err := tw.node(path, info.Mode().Type()); err != nil {
		return 0, err
	}
	err = tw.commit()
	return tw.size, err
}

// commit writes the bytes in the buffer.
func (w *treeWriter) commit() error {
	w.size += int64(len(w.buf))
	err := w.out.Commit(len(w.buf))
	w.buf = nil
	return err
}

// grow gets the next buffer if the current one is full. It also checks the context.
func (w *treeWriter) grow() error {
	if len(w.buf) < cap(w.buf) {
		return nil
	}
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if len(w.buf) > 0 {
		if err := w.commit(); err != nil {
			return err
		}
	}
	buf, err := w.out.Buffer(narBuffer)
	w.buf = buf[:0:len(buf)]
	return err
}

// raw writes serialised bytes.
func (w *treeWriter) raw(s string) error {
	for len(s) > 0 {
		if err := w.grow(); err != nil {
			return err
		}
		n := min(len(s), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, s[:n]...)
		s = s[n:]
	}
	return nil
}

// length writes the length that precedes bytes.
func (w *treeWriter) length(n int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	return w.raw(string(b[:]))
}

// padding writes the zeros that follow n bytes.
func (w *treeWriter) padding(n int64) error { return w.raw("\x00\x00\x00\x00\x00\x00\x00"[:-n&7]) }

// text writes a name or a target.
func (w *treeWriter) text(s string) error {
	if err := w.length(int64(len(s))); err != nil {
		return err
	}
	if err := w.raw(s); err != nil {
		return err
	}
	return w.padding(int64(len(s)))
}

func (w *treeWriter) node(path string, typ fs.FileMode) error {
	var err error
	switch typ {
	case 0:
		err = w.regular(path)
	case fs.ModeSymlink:
		err = w.symlink(path)
	case fs.ModeDir:
		err = w.directory(path)
	default:
		return fmt.Errorf("%s: a file of type %v cannot be in a NAR", path, typ)
	}
	if err != nil {
		return err
	}
	return w.raw(wordsEnd)
}

func (w *treeWriter) symlink(path string) error {
	target, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if err := w.raw(wordsSymlink); err != nil {
		return err
	}
	return w.text(target)
}

func (w *treeWriter) directory(path string) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	entries, err := os.ReadDir(path) // sorted by the bytes of names, as in a NAR
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

func (w *treeWriter) entry(dir string, entry fs.DirEntry) error {
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
