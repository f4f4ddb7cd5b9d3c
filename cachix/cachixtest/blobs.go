package cachixtest

import (
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// errNotKept is the error for bytes that a trusting server has not stored.
var errNotKept = errors.New("a trusting server does not keep bytes")

// blob has the bytes of one request. They do not change.
type blob interface {
	size() int64
	open() (blobReader, error)
	drop() // frees the bytes
}

type blobReader interface {
	io.ReaderAt
	io.Closer
}

// blobs keeps bytes in memory, in files, or not at all.
type blobs struct {
	dir      string // empty for memory
	trusting bool
}

func newBlobs(o Options) (*blobs, error) {
	b := &blobs{trusting: o.Trusting}
	if o.Dir == "" {
		return b, nil
	}
	var err error
	// A separate directory: the given one may have other files.
	b.dir, err = os.MkdirTemp(o.Dir, "cachixtest-")
	return b, err
}

func (b *blobs) close() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// take reads a body of n bytes. The sum is their MD5; nil for a trusting server, because the hashing would slow down the
// client of a benchmark, which shares the processor.
func (b *blobs) take(body io.Reader, n int64) (_ blob, sum []byte, err error) {
	switch {
	case b.trusting:
		got, err := discard(body)
		if err == nil && got < n {
			err = io.ErrUnexpectedEOF
		}
		return hole(got), nil, err
	case b.dir == "":
		data := make([]byte, n)
		if _, err := io.ReadFull(body, data); err != nil {
			return nil, nil, err
		}
		hash := md5.Sum(data)
		return memory(data), hash[:], nil
	default:
		return b.takeFile(body, n)
	}
}

func (b *blobs) takeFile(body io.Reader, n int64) (_ blob, sum []byte, err error) {
	f, err := os.CreateTemp(b.dir, "part-")
	if err != nil {
		return nil, nil, err
	}
	hash := md5.New()
	_, err = io.CopyN(io.MultiWriter(f, hash), body, n)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return nil, nil, err
	}
	return file{f.Name(), n}, hash.Sum(nil), nil
}

// buffers are large, because a read of a body of net/http has a high fixed cost.
var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// discard reads to the end, and counts the bytes.
func discard(r io.Reader) (int64, error) {
	buffer := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buffer)
	var total int64
	for {
		n, err := r.Read(buffer[:])
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

type memory []byte

func (m memory) size() int64               { return int64(len(m)) }
func (m memory) open() (blobReader, error) { return memoryReader{m}, nil }
func (memory) drop()                       {}

type memoryReader struct{ data []byte }

func (r memoryReader) ReadAt(p []byte, at int64) (int, error) {
	if at >= int64(len(r.data)) {
		return 0, io.EOF
	}
	n := copy(p, r.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (memoryReader) Close() error { return nil }

type file struct {
	name string
	n    int64
}

func (f file) size() int64               { return f.n }
func (f file) open() (blobReader, error) { return os.Open(f.name) }
func (f file) drop()                     { _ = os.Remove(f.name) }

type hole int64

func (h hole) size() int64             { return int64(h) }
func (hole) open() (blobReader, error) { return nil, errNotKept }
func (hole) drop()                     {}

// object is a file of parts. All parts apart from the last have the same size.
type object struct {
	parts  []blob
	size   int64
	flawed int64 // offset of a byte that is inverted; -1 for none
}

func newObject(parts ...blob) *object {
	o := &object{parts: parts, flawed: -1}
	for _, part := range parts {
		o.size += part.size()
	}
	return o
}

func (o *object) drop() {
	for _, part := range o.parts {
		part.drop()
	}
}

// reader returns a reader for one goroutine. The caller must close it.
func (o *object) reader() *objectReader { return &objectReader{object: *o} }

// objectReader is an [io.ReadSeekCloser] with one open part at a time.
type objectReader struct {
	object object
	offset int64
	index  int
	part   blobReader // the part with the index; nil if none is open
}

func (r *objectReader) Read(p []byte) (int, error) {
	if r.offset >= r.object.size {
		return 0, io.EOF
	}
	step := r.object.parts[0].size()
	index := int(r.offset / step)
	if r.part == nil || index != r.index {
		if err := r.Close(); err != nil {
			return 0, err
		}
		part, err := r.object.parts[index].open()
		if err != nil {
			return 0, err
		}
		r.part, r.index = part, index
	}
	n, err := r.part.ReadAt(p, r.offset-int64(index)*step)
	if flaw := r.object.flawed - r.offset; flaw >= 0 && flaw < int64(n) {
		p[flaw] ^= 0xff
	}
	r.offset += int64(n)
	if err == io.EOF && n > 0 {
		err = nil // of this part
	}
	return n, err
}

func (r *objectReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.object.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: before the start", offset)
	}
	r.offset = offset
	return offset, nil
}

func (r *objectReader) Close() error {
	if r.part == nil {
		return nil
	}
	part := r.part
	r.part = nil
	return part.Close()
}
