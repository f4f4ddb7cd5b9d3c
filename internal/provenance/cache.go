package provenance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Cache is a binary cache in a directory. It implements [Holder].
type Cache struct {
	Dir *binarycache.Dir
	// Deep has each NAR unpacked and hashed, where otherwise its narinfo is believed.
	Deep bool
}

// Name returns the directory.
func (c Cache) Name() string { return c.Dir.Name() }

// errNoNAR is of a cache that has lost a file.
var errNoNAR = errors.New("its narinfo is there, its NAR is not")

// NARHash returns what the narinfo says, which [Cache].Deep holds the NAR to.
func (c Cache) NARHash(ctx context.Context, path nix.StorePath) (nix.Hash, error) {
	info, err := c.Dir.Info(path)
	if errors.Is(err, binarycache.ErrNotFound) {
		return nix.Hash{}, ErrAbsent
	}
	if err != nil || !c.Deep {
		return hashOf(info), err
	}
	f, err := c.Dir.OpenNAR(info)
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoNAR
	}
	if err != nil {
		return nix.Hash{}, err
	}
	defer f.Close()
	return info.NARHash, rehash(ctx, f, info)
}

func hashOf(info *nix.NARInfo) nix.Hash {
	if info == nil {
		return nix.Hash{}
	}
	return info.NARHash
}

// rehash unpacks a NAR and holds it to its narinfo. No more is unpacked than that promises.
func rehash(ctx context.Context, r io.Reader, info *nix.NARInfo) error {
	unpacked, done, err := unpack(r, info.Compression)
	if err != nil {
		return err
	}
	defer done()
	hasher := gonix.NewHasher(gonix.SHA256)
	n, err := io.Copy(hasher, io.LimitReader(regular.Until(ctx, unpacked), info.NARSize+1))
	if err != nil {
		return fmt.Errorf("unpack its NAR: %w", err)
	}
	if got := hasher.SumHash(); n != info.NARSize || !got.Equal(info.NARHash) {
		return fmt.Errorf("%w: %d bytes or more with %s, not %d with %s", ErrDamaged, n, got.SRI(), info.NARSize, info.NARHash.SRI())
	}
	return nil
}

// unpack takes off the compressions that caches use today.
func unpack(r io.Reader, compression gonix.CompressionType) (io.Reader, func(), error) {
	switch compression {
	case gonix.NoCompression:
		return r, func() {}, nil
	case gonix.Zstandard:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, err
		}
		return d, d.Close, nil
	case gonix.XZ:
		d, err := xz.NewReader(r)
		return d, func() {}, err
	default:
		return nil, nil, fmt.Errorf("compression %q: only zstd, xz and none can be read", compression)
	}
}
