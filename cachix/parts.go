package cachix

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
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
	compression() binarycache.Compression
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
	if binarycache.Compression(info.Compression) != p.compression || info.FileHash.Type() != gonix.SHA256 {
		return &freshNAR{p, o}, nil
	}
	file, err := files.OpenNAR(info)
	if err != nil {
		return nil, err
	}
	return &fileNAR{push: p, info: info, file: file}, nil
}

// freshNAR is compressed while it is read.
type freshNAR struct {
	push   *push
	object *object
}

func (n *freshNAR) compression() binarycache.Compression { return n.push.compression }
func (n *freshNAR) Close() error                         { return nil }

func (n *freshNAR) parts(ctx context.Context, send func(part) error) (binarycache.Packed, error) {
	c := &cutter{
		ctx: ctx, push: n.push, send: send, size: partSizeFor(n.object.NARSize),
		// What cannot be compressed becomes longer by some bytes for each block.
		left: n.object.NARSize + n.object.NARSize/64 + 1<<10,
	}
	packed, err := n.push.press.Pack(ctx, func(w io.Writer) error {
		return n.push.source.Dump(ctx, countingWriter{w, n.push.meter.packed}, n.object.Path)
	}, c.take)
	if err == nil {
		err = c.pass() // the last part, of what is left
	}
	c.drop()
	return packed, err
}

// cutter collects compressed bytes until they make a part.
type cutter struct {
	ctx    context.Context // of this one NAR, for the callback of the press
	push   *push
	send   func(part) error
	size   int64 // of a part
	left   int64 // most bytes that are still to come
	number int
	buffer []byte // nil between two parts
	held   int64  // of the push's memory, for the buffer
}

// take copies compressed bytes into parts. It blocks while parts in memory are too many.
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

// begin makes room for the next part. An object that holds a part which is not full never waits for one that does the
// same: there are fewer readers than parts that fit, and a part that is full is on its way out.
func (c *cutter) begin() error {
	held := min(c.size, max(c.left, 1), partMemory)
	if err := c.push.memory.Acquire(c.ctx, held); err != nil {
		return context.Cause(c.ctx)
	}
	c.held, c.buffer = held, c.push.buffers.get(held)
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
			c.push.buffers.put(buffer)
			c.push.memory.Release(held)
		},
	})
}

// drop lets go of a part that is not sent.
func (c *cutter) drop() {
	if c.buffer != nil {
		c.push.buffers.put(c.buffer)
		c.push.memory.Release(c.held)
		c.buffer, c.held = nil, 0
	}
}

// fileNAR is a file of a binary cache, compressed as it shall be. What is sent is held against its narinfo all the same.
type fileNAR struct {
	push *push
	info *nix.NARInfo
	file *os.File
}

func (n *fileNAR) compression() binarycache.Compression {
	return binarycache.Compression(n.info.Compression)
}
func (n *fileNAR) Close() error { return n.file.Close() }

func (n *fileNAR) parts(ctx context.Context, send func(part) error) (binarycache.Packed, error) {
	size, sum, number := partSizeFor(n.info.FileSize), sha256.New(), 0
	for offset := int64(0); offset < n.info.FileSize; offset += size {
		if ctx.Err() != nil {
			return binarycache.Packed{}, context.Cause(ctx)
		}
		data := io.NewSectionReader(n.file, offset, min(size, n.info.FileSize-offset))
		digest := md5.New()
		if read, err := io.Copy(io.MultiWriter(sum, digest), io.NewSectionReader(data, 0, data.Size())); err != nil {
			return binarycache.Packed{}, fmt.Errorf("read nar: %v", err)
		} else if read != data.Size() {
			return binarycache.Packed{}, fmt.Errorf("read nar: %s ends after %d of %d bytes", n.info.URL, offset+read, n.info.FileSize)
		}
		number++
		if err := send(part{number: number, data: data, md5: [md5.Size]byte(digest.Sum(nil)), done: func() {}}); err != nil {
			return binarycache.Packed{}, err
		}
		n.push.meter.packed(n.info.NARSize * data.Size() / n.info.FileSize)
	}
	if !slices.Equal(sum.Sum(nil), n.info.FileHash.Bytes(nil)) {
		return binarycache.Packed{}, errors.New("read nar: the file is not what its narinfo says (its hash differs)")
	}
	return binarycache.Packed{NARHash: n.info.NARHash, NARSize: n.info.NARSize, FileHash: n.info.FileHash, FileSize: n.info.FileSize}, nil
}
