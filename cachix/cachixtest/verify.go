package cachixtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	gonix "zombiezen.com/go/nix"
)

// maxWindow is the largest window that the zstd library of Nix unpacks (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
const maxWindow = 128 << 20

// verify reads a compressed NAR and holds it against its promises. It never has more of it than a window in memory.
func verify(nar *object, info *gonix.NARInfo) error {
	r := nar.reader()
	defer r.Close()
	file := sha256.New()
	packed := io.TeeReader(r, file)
	unpackErr := verifyNAR(packed, info)
	if _, err := discard(packed); err != nil {
		return err
	}
	// The file first: where it is damaged, what came of unpacking it says nothing.
	if got := gonix.NewHash(gonix.SHA256, file.Sum(nil)); !got.Equal(info.FileHash) {
		return fmt.Errorf("cFileHash is %s, that of the parts %s", info.FileHash.RawBase16(), got.RawBase16())
	}
	return unpackErr
}

func verifyNAR(packed io.Reader, info *gonix.NARInfo) error {
	unpacked, closeUnpacker, err := unpack(packed, info.Compression)
	if err != nil {
		return fmt.Errorf("unpack NAR: %v", err)
	}
	defer closeUnpacker()
	hash := sha256.New()
	// One byte more makes it wrong already: a bomb is not unpacked.
	size, err := io.CopyBuffer(hash, io.LimitReader(unpacked, info.NARSize+1), make([]byte, 256<<10))
	if err != nil {
		return fmt.Errorf("unpack NAR: %v", err)
	}
	if size > info.NARSize {
		return fmt.Errorf("cNarSize is %d, the NAR has more bytes", info.NARSize)
	}
	if size != info.NARSize {
		return fmt.Errorf("cNarSize is %d, the NAR has %d bytes", info.NARSize, size)
	}
	if got := gonix.NewHash(gonix.SHA256, hash.Sum(nil)); !got.Equal(info.NARHash) {
		return fmt.Errorf("cNarHash is %s, that of the NAR %s", info.NARHash.Base32(), got.Base32())
	}
	return nil
}

// unpack reads all frames, or streams, that follow one another.
func unpack(packed io.Reader, compression gonix.CompressionType) (io.Reader, func(), error) {
	switch compression {
	case gonix.Zstandard:
		decoder, err := zstd.NewReader(packed,
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return decoder, decoder.Close, nil
	case gonix.XZ:
		decoder, err := xz.NewReader(packed)
		return decoder, func() {}, err
	default:
		return nil, nil, errors.New("neither zstd nor xz")
	}
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
