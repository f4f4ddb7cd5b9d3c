package run

import (
	"context"
	"io"

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
