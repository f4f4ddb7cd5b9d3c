package nar

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	gonix "zombiezen.com/go/nix"
)

// Compression is a format of compression, as the field Compression of a narinfo names it.
type Compression = gonix.CompressionType

// The formats that can be read.
const (
	NoCompression = gonix.NoCompression
	Gzip          = gonix.Gzip
	Bzip2         = gonix.Bzip2
	XZ            = gonix.XZ
	Zstd          = gonix.Zstandard
)

// MagicSize is the number of bytes that [DetectCompression] needs.
const MagicSize = 6

// DetectCompression returns the compression of a stream with these first bytes.
func DetectCompression(head []byte) Compression {
	for magic, c := range map[string]Compression{
		"\x1f\x8b": Gzip, "BZh": Bzip2, "\xfd7zXZ\x00": XZ, "\x28\xb5\x2f\xfd": Zstd,
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return c
		}
	}
	return NoCompression
}

// maxWindow is the maximum window of a zstd stream: the limit of the library that Nix uses
// (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
const maxWindow = 128 << 20

// NewDecompressor returns a reader of the decompressed stream, with all its frames. Close does not close r.
func NewDecompressor(r io.Reader, c Compression) (io.ReadCloser, error) {
	var d io.Reader
	var err error
	switch c {
	case NoCompression:
		d = r
	case Gzip:
		d, err = gzip.NewReader(r)
	case Bzip2:
		d = bzip2.NewReader(r)
	case XZ:
		d, err = xz.NewReader(bufio.NewReader(r))
	case Zstd:
		z, err := zstd.NewReader(r,
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("decompress %s: %w", c, err)
		}
		return z.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("decompress %s: only zstd, xz, bzip2, gzip and none are supported", c)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", c, err)
	}
	return io.NopCloser(d), nil
}

// DecompressAny is [DecompressFile] for a file whose compression is detected by its first bytes.
func DecompressAny(f *os.File) (io.ReadCloser, error) {
	head := make([]byte, MagicSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	return DecompressFile(f, DetectCompression(head[:n]))
}

// DecompressFile returns a reader of a decompressed file. Close closes the file, and so does an error.
func DecompressFile(f io.ReadCloser, c Compression) (io.ReadCloser, error) {
	d, err := NewDecompressor(bufio.NewReader(f), c)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return decompressed{d, f}, nil
}

type decompressed struct {
	io.ReadCloser
	file io.Closer
}

func (d decompressed) Close() error { return errors.Join(d.ReadCloser.Close(), d.file.Close()) }
