package unpack

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const (
	xzMagic    = "\xfd7zXZ\x00"
	zstdMagic  = "\x28\xb5\x2f\xfd"
	bzip2Magic = "BZh"
	// maxWindow is the most memory that a compressed stream can request. Nix and Cachix write less.
	maxWindow = 64 << 20
)

// Decompress detects xz, zstd and bzip2 by the first bytes of a stream. It returns any other stream as it is.
// Closing the result closes f; after an error, f is open.
func Decompress(f io.ReadCloser) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(f, 64<<10)
	head, err := in.Peek(len(xzMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case begins(zstdMagic)("", head):
		decoder, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return &decompressed{decoder, func() error { decoder.Close(); return f.Close() }}, nil
	case begins(xzMagic)("", head):
		decoder, err := xz.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("decompress xz: %v", err)
		}
		return &decompressed{decoder, f.Close}, nil
	case begins(bzip2Magic)("", head):
		return &decompressed{bzip2.NewReader(in), f.Close}, nil
	}
	return &decompressed{in, f.Close}, nil
}

type decompressed struct {
	io.Reader
	close func() error
}

func (d *decompressed) Close() error { return d.close() }
