package nar

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const (
	// defaultZstdLevel keeps two processors below a tenth of a second for 40 MB of NAR, and files below 1.10 times the
	// size of those that Nix writes (docs/benchmarks.md).
	defaultZstdLevel = 2
	// defaultXZLevel is the highest at which two processors fit into [compressorMemory].
	defaultXZLevel = 3
)

// codec is a compression at a level.
type codec struct {
	chunkSize   int
	encoderSize int64 // bytes of an encoder
	newEncoder  func() (encode, error)
}

// encode appends the compressed frame of a chunk. The frame depends only on the bytes and the index of the chunk in its NAR.
type encode func(dst, chunk []byte, index int) ([]byte, error)

// memory returns the bytes of all buffers and encoders.
func (c codec) memory(jobs int) int64 {
	reserved, shared := chunkCounts(jobs)
	return int64(reserved+shared+jobs)*int64(c.chunkCap()) + int64(jobs)*c.encoderSize
}

// chunkCap is the capacity of the buffer of a chunk: data that cannot be compressed grows slightly.
func (c codec) chunkCap() int { return c.chunkSize + c.chunkSize/128 + 1024 }

func newCodec(compression Compression, level int) (codec, error) {
	switch compression {
	case "", Zstd:
		return newZstd(level)
	case XZ:
		return newXZ(level)
	}
	return codec{}, fmt.Errorf("compression %q: only zstd and xz can be written", compression)
}

// newZstd returns the codec for a level of the program zstd. The library has four efforts. A fifth, between two of them,
// compresses every third chunk with the higher effort, and makes files as small as those of Nix.
//
// Larger chunks make smaller files and need more memory. Measured on GOROOT and on 1 GB of shared libraries, in MB/s on one
// processor, and in sizes relative to files of Nix (level 3):
//
//	level 1 to 2     fastest   315 and 290   1.08 and 1.09
//	level 3          default   231 and 206   1.02 and 1.02
//	level 4 to 5     mixed     132 and 166   1.00 and 1.01  (on a day when default had 143 and 192)
//	level 6 to 9     better    124 and 116   0.98 and 0.99
//	level 10 to 19   best       25           0.93
func newZstd(level int) (codec, error) {
	c := codec{chunkSize: 4 << 20, encoderSize: 9 << 20}
	higher := level // of every third chunk
	switch {
	case level == 0:
		return newZstd(defaultZstdLevel)
	case level < 1 || level > 19:
		return codec{}, fmt.Errorf("zstd has the levels 1 to 19, not %d", level)
	case level < 3:
		c = codec{chunkSize: 2 << 20, encoderSize: 3 << 20}
	case level == 4 || level == 5:
		higher, c.encoderSize = 6, 14<<20
	case level >= 10: // its tables alone have 34 MiB
		c = codec{chunkSize: 2 << 20, encoderSize: 37 << 20}
	}
	c.newEncoder = func() (encode, error) {
		usual, err := zstdEncoder(level, c.chunkSize)
		third := usual
		if err == nil && higher != level {
			third, err = zstdEncoder(higher, c.chunkSize)
		}
		return func(dst, chunk []byte, index int) ([]byte, error) {
			if index%3 == 0 {
				return third.EncodeAll(chunk, dst), nil
			}
			return usual.EncodeAll(chunk, dst), nil
		}, err
	}
	return c, nil
}

func zstdEncoder(level, chunkSize int) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(chunkSize), // a match cannot be farther away
		// Files become 0.6 % smaller, in the same time: data without matches, such as archives, is still detected early.
		zstd.WithAllLitEntropyCompression(true),
		zstd.WithEncoderCRC(false), // two hashes cover the same bytes
		zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true))
}

// newXZ returns the codec for a level of the program xz: only the dictionary differs.
// Each frame is an xz stream; a sequence of streams is a valid file.
func newXZ(level int) (codec, error) {
	var c codec
	config := xz.WriterConfig{CheckSum: xz.CRC32}
	switch {
	case level == 0:
		return newXZ(defaultXZLevel)
	case level < 1 || level > 9:
		return codec{}, fmt.Errorf("xz has the levels 1 to 9, not %d", level)
	case level < 4:
		config.DictCap = 1 << 20
		c = codec{chunkSize: 4 << 20, encoderSize: 12 << 20}
	case level < 7:
		config.DictCap = 8 << 20
		c = codec{chunkSize: 8 << 20, encoderSize: 56 << 20}
	default:
		config.DictCap = 16 << 20
		c = codec{chunkSize: 16 << 20, encoderSize: 112 << 20}
	}
	c.newEncoder = func() (encode, error) {
		return func(dst, chunk []byte, _ int) ([]byte, error) {
			out := bytes.NewBuffer(dst)
			w, err := config.NewWriter(out)
			if err == nil {
				_, err = w.Write(chunk)
			}
			if err == nil {
				err = w.Close()
			}
			return out.Bytes(), err
		}, nil
	}
	return c, nil
}
