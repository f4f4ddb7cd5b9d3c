package binarycache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits on what a stream may ask for, so that its lengths can be believed no further than this.
const (
	maxToken  = 16   // the longest word of the NAR grammar has 13 bytes
	maxName   = 255  // NAME_MAX of Linux
	maxTarget = 4095 // PATH_MAX of Linux, without the terminating NUL
	maxDepth  = 2048 // PATH_MAX again: more single-letter directories have no path
	maxPath   = 11 + 32 + 1 + 211
	maxRefs   = 1 << 14 // the largest closures have some hundred references per object
)

// wireReader reads the two primitives of Nix's serialisation: integers are 64 bits, little-endian;
// strings are a length, the bytes, and zeros up to a multiple of eight.
type wireReader struct {
	in  *bufio.Reader
	out io.Writer // takes a copy of all that is read
	pos int64     // bytes read

	scratch [maxTarget + 1]byte
}

func newWireReader(r io.Reader) *wireReader {
	return &wireReader{in: bufio.NewReaderSize(r, 256<<10), out: io.Discard}
}

// fill reads len(p) bytes. The end of the stream is always too early here.
func (w *wireReader) fill(p []byte) error {
	n, err := io.ReadFull(w.in, p)
	w.pos += int64(n)
	if err != nil {
		return w.readError(err)
	}
	_, err = w.out.Write(p)
	return err
}

func (w *wireReader) readError(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("at byte %d: %w", w.pos, err)
}

func (w *wireReader) invalid(format string, args ...any) error {
	return fmt.Errorf("at byte %d: "+format, append([]any{w.pos}, args...)...)
}

func (w *wireReader) uint64() (uint64, error) {
	if err := w.fill(w.scratch[:8]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(w.scratch[:8]), nil
}

// string reads a string of at most limit bytes. The result is valid up to the next read.
func (w *wireReader) string(limit int) ([]byte, error) {
	n, err := w.uint64()
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, w.invalid("a string of %d bytes, where %d are the most", n, limit)
	}
	text := w.scratch[:n]
	if err := w.fill(text); err != nil {
		return nil, err
	}
	// The padding goes behind the text, which the caller still has to look at.
	return text, w.padding(n, w.scratch[n:])
}

// padding reads the zeros after a string of n bytes.
func (w *wireReader) padding(n uint64, buf []byte) error {
	zeros := buf[:-n&7]
	if err := w.fill(zeros); err != nil {
		return err
	}
	for _, b := range zeros {
		if b != 0 {
			return w.invalid("padding that is not zero")
		}
	}
	return nil
}

// blob reads a string of any length, through the buffer and without keeping it.
func (w *wireReader) blob() error {
	n, err := w.uint64()
	if err != nil {
		return err
	}
	for left := n; left > 0; {
		if _, err := w.in.Peek(1); err != nil {
			return w.readError(err)
		}
		b, _ := w.in.Peek(int(min(left, uint64(w.in.Buffered()))))
		if _, err := w.out.Write(b); err != nil {
			return err
		}
		w.pos += int64(len(b))
		left -= uint64(len(b))
		_, _ = w.in.Discard(len(b)) // cannot fail: the bytes are buffered
	}
	return w.padding(n, w.scratch[:])
}

// expect reads the words, one string each.
func (w *wireReader) expect(words ...string) error {
	for _, want := range words {
		got, err := w.string(maxToken)
		if err != nil {
			return err
		}
		if string(got) != want {
			return w.invalid("%q where %q is due", got, want)
		}
	}
	return nil
}
