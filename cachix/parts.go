package cachix

import (
	"bytes"
	"context"
	"crypto/md5"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

// narWriter counts the bytes of a NAR. It fails if the NAR is longer than Nix has recorded: the sizes of the parts would
// be wrong.
type narWriter struct {
	io.Writer
	push   *push
	object *object
}

func (w narWriter) Write(p []byte) (int, error) {
	if w.object.read+int64(len(p)) > w.object.NARSize {
		return 0, w.object.altered("has more bytes")
	}
	n, err := w.Writer.Write(p)
	w.object.read += int64(n)
	w.push.meter.addRead(int64(n))
	return n, err
}

// compressedParts compresses the NAR of an object, and splits it into parts.
func (p *push) compressedParts(ctx context.Context, o *object, send func(part) error) (nar.Compressed, error) {
	c := &partWriter{
		ctx: ctx, memory: p.client.memory, send: send, size: partSizeFor(o.NARSize),
		// Data that cannot be compressed grows by some bytes for each block.
		left: o.NARSize + o.NARSize/64 + 1<<10,
	}
	defer c.drop()
	packed, err := p.compressor.Compress(ctx, func(w io.Writer) error {
		return p.source.Dump(ctx, narWriter{w, p, o}, o.Path)
	}, c.write)
	if err == nil {
		err = c.flush() // the last part
	}
	return packed, err
}

// partWriter splits compressed bytes into parts.
type partWriter struct {
	ctx    context.Context // of this NAR, for the callback of the compressor
	memory *memory
	send   func(part) error
	size   int64 // of a part
	left   int64 // maximum of the bytes that follow
	number int
	buffer []byte // nil between two parts
	held   int64  // reserved memory of the buffer
}

// write copies compressed bytes into parts. It blocks while all memory for parts is reserved.
func (c *partWriter) write(chunk []byte) error {
	for len(chunk) > 0 {
		if c.buffer == nil {
			if err := c.reserve(); err != nil {
				return err
			}
		}
		n := min(int64(len(chunk)), c.size-int64(len(c.buffer)))
		c.buffer = append(c.buffer, chunk[:n]...)
		chunk = chunk[n:]
		if int64(len(c.buffer)) == c.size {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// reserve waits for the memory of the next part. There is no deadlock: a goroutine that waits here has no part, and parts
// that are being filled or sent need no further memory.
func (c *partWriter) reserve() error {
	c.held = min(c.size, max(c.left, 1))
	c.left -= c.held
	var err error
	c.buffer, err = c.memory.buffer(c.ctx, c.held)
	return err
}

// flush sends the current part.
func (c *partWriter) flush() error {
	if c.buffer == nil {
		return nil
	}
	buffer, held := c.buffer, c.held
	c.buffer = nil
	c.number++
	return c.send(part{
		number: c.number,
		data:   io.NewSectionReader(bytes.NewReader(buffer), 0, int64(len(buffer))),
		md5:    md5.Sum(buffer),
		done:   func() { c.memory.give(buffer, held) },
	})
}

// drop releases a part that was not sent.
func (c *partWriter) drop() {
	if c.buffer != nil {
		c.memory.give(c.buffer, c.held)
	}
}
