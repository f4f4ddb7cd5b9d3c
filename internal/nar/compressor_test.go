package nar

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// pack compresses bytes, and returns the file.
func pack(ctx context.Context, p *Compressor, contents []byte) ([]byte, Compressed, error) {
	var file bytes.Buffer
	packed, err := p.Compress(ctx,
		func(w io.Writer) error { _, err := w.Write(contents); return err },
		func(chunk []byte) error { file.Write(chunk); return nil })
	return file.Bytes(), packed, err
}

func newTestCompressor(t *testing.T, compression Compression, level, jobs int) *Compressor {
	t.Helper()
	c, err := newCodec(compression, level)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newCompressor(c, jobs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func unpacked(t *testing.T, c Compression, file []byte) []byte {
	t.Helper()
	r, err := NewDecompressor(bytes.NewReader(file), c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	contents, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

// A compressed file depends only on the bytes of the NAR, the compression and the level.
func TestCompressorIsDeterministic(t *testing.T) {
	sizes := []int{0, 1, 2 << 20, 5<<20 + 7} // none, one and several chunks, but for xz, which is slow
	for _, o := range []struct {
		compression Compression
		level       int
	}{{Zstd, 0}, {Zstd, 1}, {Zstd, 3}, {Zstd, 4}, {Zstd, 6}, {Zstd, 10}, {XZ, 1}} {
		t.Run(fmt.Sprintf("%s-%d", o.compression, o.level), func(t *testing.T) {
			first, second := newTestCompressor(t, o.compression, o.level, 1), newTestCompressor(t, o.compression, o.level, 4)
			sizes := sizes
			if o.compression == XZ {
				sizes = []int{0, 1, 1 << 20}
			}
			for _, size := range sizes {
				contents := nartest.RandomObject(fmt.Sprint(size), size).Content
				file, packed, err := pack(t.Context(), first, contents)
				if err != nil {
					t.Fatal(err)
				}
				if !packed.NARHash.Equal(hashOf(contents)) || packed.NARSize != int64(len(contents)) {
					t.Errorf("%d bytes: NAR %s, %d", size, packed.NARHash.SRI(), packed.NARSize)
				}
				if !packed.FileHash.Equal(hashOf(file)) || packed.FileSize != int64(len(file)) {
					t.Errorf("%d bytes: file %s, %d", size, packed.FileHash.SRI(), packed.FileSize)
				}
				if got := unpacked(t, o.compression, file); !bytes.Equal(got, contents) {
					t.Errorf("%d bytes become %d others", size, len(got))
				}
				again, _, err := pack(t.Context(), second, contents)
				if err != nil || !bytes.Equal(again, file) {
					t.Errorf("%d bytes: other bytes on four processors: %v", size, err)
				}
			}
		})
	}
}

func hashOf(b []byte) nix.Hash {
	d := NewDigest()
	_, _ = d.Write(b)
	return d.Hash()
}

// Each effort makes smaller files than the one before. The mixed effort is between its two.
func TestLevelsAreInOrder(t *testing.T) {
	random := rand.New(rand.NewChaCha8(sha256.Sum256([]byte("levels"))))
	var words [512][]byte
	for i := range words {
		words[i] = make([]byte, 3+random.IntN(12))
		for k := range words[i] {
			words[i][k] = byte('a' + random.IntN(26))
		}
	}
	var text []byte
	for len(text) < 8<<20 { // two chunks
		text = append(append(text, words[int(random.ExpFloat64()*60)%len(words)]...), ' ')
	}
	var last int64
	for i, level := range []int{1, 3, 4, 6} {
		_, packed, err := pack(t.Context(), newTestCompressor(t, Zstd, level, 2), text)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && packed.FileSize >= last {
			t.Errorf("level %d: %d bytes, not fewer than %d", level, packed.FileSize, last)
		}
		last = packed.FileSize
	}
}

func TestCompressionAndLevelAreChecked(t *testing.T) {
	for level, compression := range map[int]Compression{-1: Zstd, 20: Zstd, 10: XZ, 0: Bzip2} {
		if p, err := NewCompressor(compression, level); err == nil {
			p.Close()
			t.Errorf("%s at level %d is accepted", compression, level)
		}
	}
}

// After every kind of failure, Compress returns its buffers: without them, the next call could not begin.
func TestCompressorWorksAfterAFailure(t *testing.T) {
	p := newTestCompressor(t, Zstd, 0, 1)
	contents := nartest.RandomObject("x", 12<<20).Content
	gone := errors.New("it is gone")
	write := func(w io.Writer) error { _, err := w.Write(contents); return err }
	take := func([]byte) error { return nil }
	for name, c := range map[string]func() error{
		"write": func() error {
			_, err := p.Compress(t.Context(), func(w io.Writer) error { _, _ = w.Write(contents[:3<<20]); return gone }, take)
			return err
		},
		"sink": func() error {
			_, err := p.Compress(t.Context(), write, func([]byte) error { return gone })
			return err
		},
		"context": func() error {
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			_, err := p.Compress(ctx, write, func([]byte) error { stop(gone); return nil })
			return err
		},
		"context that is done": func() error {
			ctx, stop := context.WithCancelCause(t.Context())
			stop(gone)
			_, err := p.Compress(ctx, write, take)
			return err
		},
	} {
		for range 3 {
			if err := c(); !errors.Is(err, gone) {
				t.Errorf("%s: error %v", name, err)
			}
		}
		if file, _, err := pack(t.Context(), p, contents); err != nil || !bytes.Equal(unpacked(t, Zstd, file), contents) {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

// A sink that blocks delays only its own call of Compress. Here all sinks wait for the last one.
func TestCompressionsDoNotWaitForEachOther(t *testing.T) {
	const jobs = 2
	p := newTestCompressor(t, Zstd, 0, jobs)
	own, _ := chunkCounts(jobs)
	group, ctx := errgroup.WithContext(t.Context())
	blocked, release := make(chan struct{}, own), make(chan struct{})
	contents := nartest.RandomObject("x", 14<<20).Content
	for range own - 1 {
		group.Go(func() error {
			waited := false
			_, err := p.Compress(ctx,
				func(w io.Writer) error { _, err := w.Write(contents); return err },
				func([]byte) error {
					if !waited {
						waited = true
						blocked <- struct{}{}
						<-release
					}
					return nil
				})
			return err
		})
	}
	for range own - 1 {
		<-blocked
	}
	if file, _, err := pack(ctx, p, contents); err != nil || !bytes.Equal(unpacked(t, Zstd, file), contents) {
		t.Errorf("%v", err)
	}
	close(release)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
