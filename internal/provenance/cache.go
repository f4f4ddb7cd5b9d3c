package provenance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
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

// rehash compares a NAR with its narinfo.
func rehash(ctx context.Context, r io.Reader, info *nix.NARInfo) error {
	err := nar.Verify(regular.Until(ctx, r), info)
	switch {
	case errors.Is(err, nar.ErrMismatch):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return fmt.Errorf("unpack its NAR: %w", err)
	}
	return nil
}
