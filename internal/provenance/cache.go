package provenance

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Cache is a binary cache. It implements [Holder].
type Cache struct {
	run.NARHasher
	// Deep reads and hashes each NAR. Otherwise the narinfo is trusted.
	Deep bool
}

// NARHash returns the hash in the narinfo. With [Cache].Deep the NAR must have it.
func (c Cache) NARHash(ctx context.Context, path nix.StorePath) (nix.Hash, error) {
	infos, err := c.Infos(ctx, []nix.StorePath{path})
	info, found := infos[path]
	switch {
	case err != nil:
		return nix.Hash{}, err
	case !found:
		return nix.Hash{}, ErrAbsent
	case !c.Deep:
		return info.NARHash, nil
	}
	err = run.DumpVerified(ctx, io.Discard, c, path)
	if errors.Is(err, nar.ErrMismatch) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return info.NARHash, err
}
