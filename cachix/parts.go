package cachix

import (
	"bytes"
	"context"
	"crypto/md5"
	"io"
	"os"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// FileSource is a source whose NARs are files, of which some may be compressed as the cache wants them.
// Those are sent as they are, a second time too if they have to be, and take no memory.
type FileSource interface {
	Source
	// Info returns the narinfo of a store object.
	Info(path nix.StorePath) (*nix.NARInfo, error)
	// OpenNAR opens the file that a narinfo names.
	OpenNAR(info *nix.NARInfo) (*os.File, error)
}

// narReader cuts a NAR file into parts, in order, while it is read for the only time.
type narReader interface {
	compression() nar.Compression
	parts(ctx context.Context, send func(part) error) (binarycache.Packed, error)
	Close() error
}

// open opens the NAR of an object: as a file where the source has one that fits, else to be compressed.
func (p *push) open(o *object) (narReader, error) {
	files, ok := p.source.(FileSource)
	if !ok {
		return &freshNAR{p, o}, nil
	}
	info, err := files.Info(o.Path)
	if err != nil {
		return nil, err
	}
	if nar.Compression(info.Compression) != p.compression || info.FileHash.Type() != gonix.SHA256 || info.FileSize <= 0 {
		return &freshNAR{p, o}, nil
	}
	file, err := files.OpenNAR(info)
	if err != nil {
		return nil, err
	}
	return &fileNAR{push: p, object: o, info: info, file: file}, nil
}

// narWriter counts the bytes of a NAR that is read, and ends it where it is longer than Nix has noted:
// no more room was set aside.
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
	w.push.meter.packed(int64(n))
	return n, err
}

// freshNAR is compressed while it is read.
type freshNAR struct {
	push   *push
	object *object
}

func (n *freshNAR) compression() nar.Compression { return n.push.compression }
func (n *freshNAR) Close() error                 { return nil }

func (n *freshNAR) parts(ctx context.Context, send func(part) error) (binarycache.Packed, error) {
	c := &cutter{
		ctx: ctx, memory: n.push.client.memory, send: send, size: partSizeFor(n.object.NARSize),
		// What cannot be compressed becomes longer by some bytes for each block.
		left: n.object.NARSize + n.object.NARSize/64 + 1<<10,
	}
	defer c.drop()
	packed, err := n.push.press.Pack(ctx, func(w io.Writer) error {
		return n.push.source.Dump(ctx, narWriter{w, n.push, n.object}, n.object.Path)
	}, c.take)
	if err == nil {
		err = c.pass() // the last part, of what is left
	}
	return packed, err
}

// cutter collects compressed bytes until they make a part.
type cutter struct {
	ctx    context.Context // of this one NAR, for the callback of the press
	memory *memory
	send   func(part) error
	size   int64 // of a part
	left   int64 // most bytes that are still to come
	number int
	buffer []byte // nil between two parts
	held   int64  // of the memory, for the buffer
}

// take copies compressed bytes into parts. It blocks while parts on their way are too many.
func (c *cutter) take(chunk []byte) error {
	for len(chunk) > 0 {
		if c.buffer == nil {
			if err := c.begin(); err != nil {
				return err
			}
		}
		n := min(int64(len(chunk)), c.size-int64(len(c.buffer)))
		c.buffer = append(c.buffer, chunk[:n]...)
		chunk = chunk[n:]
		if int64(len(c.buffer)) == c.size {
			if err := c.pass(); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin makes room for the next part. Nobody who waits here holds a part, and a part that is held is being filled or
// on its way out, for which nothing of this memory is needed: so none waits for ever.
func (c *cutter) begin() error {
	held := min(c.size, max(c.left, 1))
	if err := c.memory.reserve(c.ctx, held); err != nil {
		return err
	}
	c.held, c.buffer = held, c.memory.take(held)
	c.left -= held
	return nil
}

// pass sends the part that has been collected.
func (c *cutter) pass() error {
	if c.buffer == nil {
		return nil
	}
	buffer, held := c.buffer, c.held
	c.buffer, c.held = nil, 0
	c.number++
	return c.send(part{
		number: c.number,
		data:   io.NewSectionReader(bytes.NewReader(buffer), 0, int64(len(buffer))),
		md5:    md5.Sum(buffer),
		done: func() {
			c.memory.give(buffer, held)
			c.memory.release(held)
		},
	})
}

// drop lets go of a part that is not sent.
func (c *cutter) drop() {
	if c.buffer != nil {
		c.memory.give(c.buffer, c.held)
		c.memory.release(c.held)
		c.buffer, c.held = nil, 0
	}
}
