package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Tree is the contents of a store object, wherever they are: [OnDisk], [NARFile], [NAR], [Dumped] or [InCache] makes one.
// It may be compared any number of times, and several times at once.
type Tree struct {
	// Name says which it is, in reports and errors.
	Name string

	open func(context.Context) (io.ReadCloser, error)
}

// OnDisk is a store path, or any other file or directory. Of modes only the owner's executable bit counts,
// as in a NAR; sockets, devices and pipes are an error.
func OnDisk(path string) Tree {
	return NAR(path, func(ctx context.Context) (io.ReadCloser, error) {
		if _, err := os.Lstat(path); err != nil {
			return nil, err
		}
		return newDump(func(w io.Writer) error { return binarycache.DumpTree(ctx, w, path) }), nil
	})
}

// Dumped is the NAR that write writes. Each comparison calls it anew; it has to end when ctx does, or w fails.
func Dumped(name string, write func(ctx context.Context, w io.Writer) error) Tree {
	return NAR(name, func(ctx context.Context) (io.ReadCloser, error) {
		return newDump(func(w io.Writer) error { return write(ctx, w) }), nil
	})
}

// dump is a NAR while it is written.
type dump struct {
	*io.PipeReader
	done chan struct{}
}

func newDump(write func(io.Writer) error) *dump {
	r, w := io.Pipe()
	d := &dump{PipeReader: r, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		_ = w.CloseWithError(write(w)) // never fails
	}()
	return d
}

// Close ends the goroutine that writes it, and waits for that.
func (d *dump) Close() error {
	err := d.PipeReader.Close()
	<-d.done
	return err
}

// NAR is what open returns, an uncompressed NAR. The stream is read by another goroutine, and closed after that one has
// ended: a read has to return in the end, or when the context that open has got is done.
func NAR(name string, open func(context.Context) (io.ReadCloser, error)) Tree {
	return Tree{name, open}
}

// NARFile is a NAR in a file, plain or compressed by zstd or xz, which its first bytes tell.
func NARFile(file regular.File) Tree {
	return NAR(file.Path(), func(context.Context) (io.ReadCloser, error) {
		f, err := file.OpenRegular()
		if err != nil {
			return nil, err
		}
		r, err := decompress(f)
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		return r, nil
	})
}

// InCache is a store object in a binary cache. Where its NAR is not what its narinfo promises, comparing it fails:
// a damaged cache says nothing of a build.
func InCache(dir *binarycache.Dir, path nix.StorePath) Tree {
	return NAR(string(path), func(context.Context) (io.ReadCloser, error) {
		info, err := dir.Info(path)
		if err != nil {
			return nil, err
		}
		switch info.Compression {
		case gonix.NoCompression, gonix.Zstandard, gonix.XZ:
		default:
			return nil, fmt.Errorf("compression %q: only zstd, xz and none can be read", info.Compression)
		}
		f, err := dir.OpenNAR(info)
		if err != nil {
			return nil, err
		}
		r, err := decompress(f)
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		return &promised{ReadCloser: r, hasher: gonix.NewHasher(info.NARHash.Type()), info: info}, nil
	})
}

// promised reads a NAR, and at its end tells whether it was the one that its narinfo promises.
type promised struct {
	io.ReadCloser
	hasher *gonix.Hasher
	info   *nix.NARInfo
}

func (p *promised) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	_, _ = p.hasher.Write(b[:n])
	if errors.Is(err, io.EOF) {
		if got := p.hasher.SumHash(); !got.Equal(p.info.NARHash) {
			return n, fmt.Errorf("the hash of the NAR is %v, but its narinfo promises %v", got, p.info.NARHash)
		}
	}
	return n, err
}

// maxWindow is the most memory that a compressed stream may ask for: more than Nix and Cachix write.
const maxWindow = 64 << 20

// decompress reads a stream as its first bytes say. Closing the result closes f.
func decompress(f io.ReadCloser) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(f, 64<<10)
	head, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch compressionOf(head) {
	case gonix.Zstandard:
		decoder, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return &decompressed{decoder, func() error { decoder.Close(); return f.Close() }}, nil
	case gonix.XZ:
		decoder, err := xz.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("decompress xz: %v", err)
		}
		return &decompressed{decoder, f.Close}, nil
	}
	return &decompressed{in, f.Close}, nil
}

func compressionOf(head []byte) gonix.CompressionType {
	switch {
	case len(head) >= 4 && string(head[:4]) == "\x28\xb5\x2f\xfd":
		return gonix.Zstandard
	case len(head) >= 6 && string(head[:6]) == "\xfd7zXZ\x00":
		return gonix.XZ
	}
	return gonix.NoCompression
}

type decompressed struct {
	io.Reader
	close func() error
}

func (d *decompressed) Close() error { return d.close() }
