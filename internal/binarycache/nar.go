package binarycache

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// HashTree returns the SHA-256 and the size in bytes of the NAR of a file or a directory on disk:
// what nix hash path and narHash of a flake's lock name.
// Of a file's mode only the owner's executable bit counts; sockets, devices and pipes are refused.
func HashTree(path string) (nix.Hash, int64, error) {
	hash := gonix.NewHasher(gonix.SHA256)
	size, err := writeTree(hash, path)
	if err != nil {
		return nix.Hash{}, 0, fmt.Errorf("hash tree %s: %w", path, err)
	}
	return hash.SumHash(), size, nil
}

// writeTree writes the NAR of a tree and returns its size.
//
// zombiezen.com/go/nix/nar would do, but for names that are not UTF-8, which it refuses,
// and for files that only the group or others may execute, which it takes for executable and Nix does not.
func writeTree(w io.Writer, path string) (int64, error) {
	nw := &narWriter{out: bufio.NewWriterSize(w, 256<<10)}
	nw.words(narMagic)
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	if err := nw.node(path, info); err != nil {
		return 0, err
	}
	return nw.size, nw.out.Flush()
}

// narWriter writes the grammar that wireReader reads.
// Errors of out are kept by it and come with Flush.
type narWriter struct {
	out  *bufio.Writer
	size int64
}

func (w *narWriter) words(words ...string) {
	for _, s := range words {
		w.begin(int64(len(s)))
		_, _ = w.out.WriteString(s)
		w.end(int64(len(s)))
	}
}

func (w *narWriter) begin(n int64) {
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(n))
	_, _ = w.out.Write(length[:])
	w.size += 8 + n
}

func (w *narWriter) end(n int64) {
	var zeros [8]byte
	padding := -n & 7
	_, _ = w.out.Write(zeros[:padding])
	w.size += padding
}

func (w *narWriter) node(path string, info fs.FileInfo) error {
	w.words("(", "type")
	switch mode := info.Mode(); mode.Type() {
	case 0:
		w.words("regular")
		if mode&0o100 != 0 {
			w.words("executable", "")
		}
		if err := w.contents(path, info.Size()); err != nil {
			return err
		}
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		w.words("symlink", "target", target)
	case fs.ModeDir:
		w.words("directory")
		if err := w.entries(path); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s: a file of type %v has no place in a NAR", path, mode.Type())
	}
	w.words(")")
	return nil
}

func (w *narWriter) contents(path string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w.words("contents")
	w.begin(size)
	// The length is written already: one byte more is asked for, to see a file that has grown.
	switch n, err := io.Copy(w.out, io.LimitReader(f, size+1)); {
	case err != nil:
		return err
	case n != size:
		return fmt.Errorf("%s: changed while it was read", path)
	}
	w.end(size)
	return nil
}

func (w *narWriter) entries(path string) error {
	entries, err := os.ReadDir(path) // in the order of a NAR: by the names' bytes
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return err
		}
		w.words("entry", "(", "name", entry.Name(), "node")
		if err := w.node(filepath.Join(path, entry.Name()), info); err != nil {
			return err
		}
		w.words(")")
	}
	return nil
}
