package nar

import (
	"errors"
	"fmt"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// ErrMismatch is the error of an archive, or of its file, whose size or hash differs from the narinfo.
var ErrMismatch = errors.New("not what its narinfo states")

// Digest is a writer that computes the SHA-256 and the number of the bytes written.
type Digest struct {
	hasher *gonix.Hasher
	Size   int64
}

// NewDigest returns a digest of no bytes.
func NewDigest() *Digest { return &Digest{hasher: gonix.NewHasher(gonix.SHA256)} }

func (d *Digest) Write(p []byte) (int, error) {
	d.Size += int64(len(p))
	return d.hasher.Write(p)
}

// Hash returns the hash of the bytes written.
func (d *Digest) Hash() nix.Hash { return d.hasher.SumHash() }

// Compare returns an error that wraps [ErrMismatch] if the bytes have another hash or size. What describes the bytes.
func (d *Digest) Compare(what string, hash nix.Hash, size int64) error {
	if err := CompareSize(what, d.Size, size); err != nil {
		return err
	}
	if got := d.Hash(); !got.Equal(hash) {
		return fmt.Errorf("%w: the hash of its %s is %v, not %v", ErrMismatch, what, got, hash)
	}
	return nil
}

// CompareSize returns an error that wraps [ErrMismatch] if the size is not the wanted one.
func CompareSize(what string, size, want int64) error {
	switch {
	case size > want:
		return fmt.Errorf("%w: its %s has more than %d bytes", ErrMismatch, what, want)
	case size < want:
		return fmt.Errorf("%w: its %s has %d bytes, not %d", ErrMismatch, what, size, want)
	}
	return nil
}
