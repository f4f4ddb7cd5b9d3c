package binarycache

import (
	"fmt"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// digest takes bytes and knows their hash and number.
type digest struct {
	hasher *gonix.Hasher
	size   int64
}

func newDigest() *digest { return &digest{hasher: gonix.NewHasher(gonix.SHA256)} }

func (d *digest) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	return d.hasher.Write(p)
}

func (d *digest) hash() nix.Hash { return d.hasher.SumHash() }

func (d *digest) reset() {
	d.hasher.Reset()
	d.size = 0
}

// compare tells what differs from a promise; what names the bytes.
func (d *digest) compare(what string, hash nix.Hash, size int64) error {
	if err := compareSize(what, d.size, size); err != nil {
		return err
	}
	if got := d.hash(); !got.Equal(hash) {
		return fmt.Errorf("the hash of its %s is %v, not %v", what, got, hash)
	}
	return nil
}

func compareSize(what string, size, want int64) error {
	switch {
	case size > want:
		return fmt.Errorf("its %s has more than the promised %d bytes", what, want)
	case size < want:
		return fmt.Errorf("its %s has %d bytes, not %d", what, size, want)
	}
	return nil
}
