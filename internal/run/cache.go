package run

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// NARSource is what the contents of store objects are read from.
type NARSource interface {
	// Dump writes the NAR of a store object.
	Dump(ctx context.Context, w io.Writer, path nix.StorePath) error
}

// NARHasher is a binary cache with the NAR hashes of its store objects. It is safe for concurrent use.
type NARHasher interface {
	NARSource
	Name() string
	// Infos returns at least the NAR hash and the references of each path that the cache has.
	Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error)
}

// DumpVerified writes the NAR of a store object to w. The error is a [nar.ErrMismatch] if the NAR does not have the hash
// that the cache states, and wraps [fs.ErrNotExist] if the cache does not have the object.
func DumpVerified(ctx context.Context, w io.Writer, cache NARHasher, path nix.StorePath) error {
	infos, err := cache.Infos(ctx, []nix.StorePath{path})
	if err != nil {
		return err
	}
	info, ok := infos[path]
	if !ok {
		return fmt.Errorf("read %s from %s: %w", path, cache.Name(), fs.ErrNotExist)
	}
	digest := nar.NewDigest()
	if err := cache.Dump(ctx, io.MultiWriter(w, digest), path); err != nil {
		return err
	}
	return digest.Compare("NAR", info.NARHash, cmp.Or(info.NARSize, digest.Size)) // not every cache states the size
}
