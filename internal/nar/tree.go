package nar

import (
	"context"
	"fmt"
	"io"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// DumpTree writes the NAR of a file or a directory on disk, like nix-store --dump.
// Only the owner's executable bit of the mode matters. Sockets, devices and pipes are errors. A file whose size or
// modification time changes while it is read is an error. Errors of w are wrapped, and so is the cause of ctx.
func DumpTree(ctx context.Context, w io.Writer, path string) error {
	if _, err := writeTree(ctx, w, path); err != nil {
		return fmt.Errorf("dump tree %s: %w", path, err)
	}
	return nil
}

// HashTree returns the SHA-256 and the size in bytes of the NAR of a file or a directory on disk, like nix hash path.
// It returns the same errors as [DumpTree].
func HashTree(ctx context.Context, path string) (nix.Hash, int64, error) {
	hash := gonix.NewHasher(gonix.SHA256)
	size, err := writeTree(ctx, hash, path)
	if err != nil {
		return nix.Hash{}, 0, fmt.Errorf("hash tree %s: %w", path, err)
	}
	return hash.SumHash(), size, nil
}

// narBuffer is the number of bytes that are read and hashed at a time. They fit into the cache of a processor.
const narBuffer = 128 << 10

// BufferedWriter is a writer that provides its own buffers, which saves a copy.
type BufferedWriter interface {
	// Buffer returns a buffer of 1 to n bytes for the next bytes.
	Buffer(n int) ([]byte, error)
	// Commit writes the first n bytes of that buffer.
	Commit(n int) error
}

// buffered makes a [BufferedWriter] of any writer.
type buffered struct {
	w   io.Writer
	buf []byte
}

func (b *buffered) Buffer(n int) ([]byte, error) { return b.buf[:min(n, len(b.buf))], nil }

func (b *buffered) Commit(n int) error {
	_, err := b.w.Write(b.buf[:n])
	return err
}
