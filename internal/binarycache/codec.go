package binarycache

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

// The levels that 0 stands for.
const (
	// DefaultZstdLevel keeps two processors below a tenth of a second for 40 MB of NAR,
	// and files below 1.10 times the size of those that Nix writes (docs/benchmarks.md).
	DefaultZstdLevel = 2
	// DefaultXZLevel is the highest at which two processors fit into [DefaultPressMemory].
	DefaultXZLevel = 3
)

// codec is a compression at a level.
type codec struct {
	pieceSize  int
	newEncoder func() (encode, error) // nil: the bytes stay as they are
	encoder    int64                  // bytes that an encoder takes
}

// encode appends the frame that a piece compresses to, of a piece's bytes alone. Index is that of the piece in its NAR.
type encode func(dst, piece []byte, index int) ([]byte, error)

// memory returns the bytes that buffers and encoders take.
func (c codec) memory(jobs int) int64 {
	own, common := pieces(jobs)
	n := int64(own+common) * int64(c.pieceCap())
	if c.newEncoder != nil {
		n += int64(jobs) * (c.encoder + int64(c.pieceCap()))
	}
	return n
}

// pieceCap is the capacity of a piece's buffer: what cannot be compressed becomes a little longer.
func (c codec) pieceCap() int { return c.pieceSize + c.pieceSize/128 + 1024 }

func newCodec(compression nar.Compression, level int) (codec, error) {
	switch compression {
	case "", nar.Zstd:
		return newZstd(level)
	case nar.XZ:
		return newXZ(level)
	case nar.NoCompression:
		return codec{pieceSize: 1 << 20}, nil
	default:
		return codec{}, fmt.Errorf("compression %q: only zstd, xz and none can be written", compression)
	}
}

// newZstd returns what stands for a level of the zstd program. The library has four efforts; a fifth, between two of
// them, takes every third piece by the higher one, and has files of the size of Nix's.
//
// Larger pieces make smaller files and need more memory. In MB/s of one processor, and in sizes by those of
// Nix's files (which has level 3), this was measured on GOROOT and on 1 GB of shared libraries:
//
//	level 1 to 2     fastest   315 and 290   1.08 and 1.09
//	level 3          default   231 and 206   1.02 and 1.02
//	level 4 to 5     mixed     132 and 166   1.00 and 1.01  (on a day when default had 143 and 192)
//	level 6 to 9     better    124 and 116   0.98 and 0.99
//	level 10 to 19   best       25           0.93
func newZstd(level int) (codec, error) {
	var c codec
	switch {
	case level == 0:
		return newZstd(DefaultZstdLevel)
	case level < 1 || level > 19:
		return codec{}, fmt.Errorf("zstd has the levels 1 to 19, not %d", level)
	case level < 3:
		c = codec{pieceSize: 2 << 20, encoder: 3 << 20}
	case mixed(level):
		c = codec{pieceSize: 4 << 20, encoder: 14 << 20}
	case level < 10:
		c = codec{pieceSize: 4 << 20, encoder: 9 << 20}
	default: // its tables alone have 34 MiB
		c = codec{pieceSize: 2 << 20, encoder: 37 << 20}
	}
	c.newEncoder = func() (encode, error) {
		encoder, err := zstdEncoder(level, c.pieceSize)
		if err != nil {
			return nil, err
		}
		higher := encoder
		if mixed(level) {
			if higher, err = zstdEncoder(higherLevel, c.pieceSize); err != nil {
				return nil, err
			}
		}
		return func(dst, piece []byte, index int) ([]byte, error) {
			if index%3 == 0 {
				return higher.EncodeAll(piece, dst), nil
			}
			return encoder.EncodeAll(piece, dst), nil
		}, nil
	}
	return c, nil
}

// higherLevel is that of every third piece at a level that is mixed.
const higherLevel = 6

// mixed says whether a level takes every third piece by a higher effort.
func mixed(level int) bool { return level == 4 || level == 5 }

func zstdEncoder(level, pieceSize int) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(pieceSize), // a match cannot be farther away
		// Files become 0.6 % smaller, and it takes no longer: what has no matches, such as an archive in
		// the NAR, is still found out soon.
		zstd.WithAllLitEntropyCompression(true),
		zstd.WithEncoderCRC(false), // two hashes look at the same bytes
		zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true))
}

// newXZ returns what stands for a level of the xz program: only the dictionary differs.
// A frame is an xz stream of its own; a file of several is one as well.
func newXZ(level int) (codec, error) {
	var c codec
	config := xz.WriterConfig{CheckSum: xz.CRC32}
	switch {
	case level == 0:
		return newXZ(DefaultXZLevel)
	case level < 1 || level > 9:
		return codec{}, fmt.Errorf("xz has the levels 1 to 9, not %d", level)
	case level < 4:
		config.DictCap = 1 << 20
		c = codec{pieceSize: 4 << 20, encoder: 12 << 20}
	case level < 7:
		config.DictCap = 8 << 20
		c = codec{pieceSize: 8 << 20, encoder: 56 << 20}
	default:
		config.DictCap = 16 << 20
		c = codec{pieceSize: 16 << 20, encoder: 112 << 20}
	}
	c.newEncoder = func() (encode, error) {
		return func(dst, piece []byte, _ int) ([]byte, error) {
			out := bytes.NewBuffer(dst)
			w, err := config.NewWriter(out)
			if err != nil {
				return nil, err
			}
			if _, err := w.Write(piece); err != nil {
				return nil, err
			}
			err = w.Close()
			return out.Bytes(), err
		}, nil
	}
	return c, nil
}
