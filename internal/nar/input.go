package nar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Maximum lengths in a stream. A longer string is an error before it is read.
const (
	maxWord   = 16   // the longest word of the grammar has 13 bytes
	maxName   = 255  // NAME_MAX of Linux
	maxTarget = 4095 // PATH_MAX of Linux, without the terminating NUL
	maxDepth  = 2048 // PATH_MAX: deeper directories have no path, even with names of one letter
	maxPath   = 11 + 32 + 1 + 211
	maxRefs   = 1 << 14 // the largest closures have some hundred references per object
)

const (
	bufferSize    = 256 << 10
	maxEmptyReads = 100
)

// input reads the two primitives of the serialisation of Nix: an integer has 64 bits, little-endian; a string is its
// length, its bytes, and zeros up to a multiple of eight.
type input struct {
	next   func() ([]byte, error) // reads a block, which is valid until the next call, like [io.Reader]
	err    error                  // of the last read, which may also have returned bytes
	block  []byte                 // the current block
	at     int                    // bytes of it that are read
	copied int                    // bytes of it that are copied to out
	before int64                  // bytes in the blocks before
	out    io.Writer

	scratch [maxTarget + 8]byte // for a string that spans two blocks
}

func newInput(r io.Reader) *input {
	buf := make([]byte, bufferSize)
	return &input{next: func() ([]byte, error) {
		n, err := r.Read(buf)
		return buf[:n], err
	}}
}

// copyTo copies all further bytes to w when they are read; nil ends the copy.
func (in *input) copyTo(w io.Writer) error {
	if in.out != nil {
		if err := in.flush(); err != nil {
			return err
		}
	}
	in.out, in.copied = w, in.at
	return nil
}

// flush copies the bytes of the current block that were read.
func (in *input) flush() error {
	if in.out == nil || in.copied == in.at {
		return nil
	}
	_, err := in.out.Write(in.block[in.copied:in.at])
	in.copied = in.at
	return err
}

// more reads the next block. The end of the stream is [io.EOF].
func (in *input) more() error {
	if err := in.flush(); err != nil {
		return err
	}
	in.before += int64(len(in.block))
	in.block, in.at, in.copied = nil, 0, 0
	for empty := 0; in.err == nil && len(in.block) == 0; empty++ {
		if in.block, in.err = in.next(); in.err == nil && empty == maxEmptyReads {
			in.err = io.ErrNoProgress
		}
	}
	if len(in.block) > 0 {
		return nil
	}
	if errors.Is(in.err, io.EOF) {
		return in.err
	}
	return in.readError(in.err)
}

// peek returns bytes of the current block, at least one. The end of the stream is an error.
func (in *input) peek() ([]byte, error) {
	if in.at == len(in.block) {
		if err := in.more(); errors.Is(err, io.EOF) {
			return nil, in.readError(io.ErrUnexpectedEOF)
		} else if err != nil {
			return nil, err
		}
	}
	return in.block[in.at:], nil
}

// take reads n bytes, at most the size of a string with its length. The result is valid until the next read.
func (in *input) take(n int) ([]byte, error) {
	if n <= len(in.block)-in.at {
		in.at += n
		return in.block[in.at-n : in.at], nil
	}
	p := in.scratch[:0]
	for len(p) < n {
		have, err := in.peek()
		if err != nil {
			return nil, err
		}
		have = have[:min(len(have), n-len(p))]
		p = append(p, have...)
		in.at += len(have)
	}
	return p, nil
}

// ended returns whether the stream ends here.
func (in *input) ended() (bool, error) {
	if in.at < len(in.block) {
		return false, nil
	}
	err := in.more()
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

func (in *input) readError(err error) error { return fmt.Errorf("at byte %d: %w", in.position(), err) }

func (in *input) invalid(format string, args ...any) error {
	return fmt.Errorf("at byte %d: "+format, append([]any{in.position()}, args...)...)
}

func (in *input) position() int64 { return in.before + int64(in.at) }

func (in *input) uint64() (uint64, error) {
	b, err := in.take(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// string reads a string of at most limit bytes. The result is valid until the next read.
func (in *input) string(limit int) ([]byte, error) {
	n, err := in.uint64()
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, in.invalid("a string of %d bytes; the limit is %d", n, limit)
	}
	text, err := in.take(int(n + -n&7))
	if err != nil {
		return nil, err
	}
	return text[:n], in.checkZero(text[n:])
}

// padding reads n zeros.
func (in *input) padding(n int) error {
	zeros, err := in.take(n)
	if err != nil {
		return err
	}
	return in.checkZero(zeros)
}

func (in *input) checkZero(padding []byte) error {
	for _, b := range padding {
		if b != 0 {
			return in.invalid("padding that is not zero")
		}
	}
	return nil
}

// expect reads the words, one string each.
func (in *input) expect(words ...string) error {
	for _, want := range words {
		got, err := in.string(maxWord)
		if err != nil {
			return err
		}
		if string(got) != want {
			return in.invalid("%q where %q must be", got, want)
		}
	}
	return nil
}
