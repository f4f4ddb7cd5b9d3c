package nar

import (
	"context"
	"fmt"
	"io"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// DumpTree writes the NAR of a file or a directory on disk: what nix-store --dump writes.
// Of a file's mode only the owner's executable bit counts; sockets, devices and pipes are refused.
// A file that changes while it is read is an error, as far as its size and its time of modification tell.
// Errors of w are wrapped, as is the cause of ctx when that is done.
func DumpTree(ctx context.Context, w io.Writer, path string) error {
	if _, err := writeTree(ctx, w, path); err != nil {
		return fmt.Errorf("dump tree %s: %w", path, err)
	}
	return nil
}

// HashTree returns the SHA-256 and the size in bytes of the NAR of a file or a directory on disk:
// what nix hash path and narHash of a flake's lock name. It refuses what [DumpTree] refuses.
func HashTree(ctx context.Context, path string) (nix.Hash, int64, error) {
	hash := gonix.NewHasher(gonix.SHA256)
	size, err := writeTree(ctx, hash, path)
	if err != nil {
		return nix.Hash{}, 0, fmt.Errorf("hash tree %s: %w", path, err)
	}
	return hash.SumHash(), size, nil
}

// narBuffer is how many bytes are read and hashed at a time. They stay in a processor's cache.
const narBuffer = 128 << 10

// BufferedWriter is a writer whose own buffers can be filled, which saves a copy.
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
