package pipelines

import (
	"context"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Cache is a binary cache as a run sees it. It is safe for concurrent use.
type Cache interface {
	// Name says where the cache is: a URL or a directory.
	Name() string
	// Missing returns those of the paths that the cache does not serve, in the order given.
	Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error)
}

// Store is the cache that a run exports into. It says of an object that it is there only if a run of this user has
// recorded its contents, and the store has these.
type Store interface {
	Cache
	run.NARHasher
	// SetAside moves out of the way, and keeps, what the store has under the paths with other contents than recorded.
	SetAside(ctx context.Context, paths []nix.StorePath) error
	// Import reads a stream of nix-store --export and adds its store objects,
	// each visible only when it and all that it refers to is complete.
	// What was complete before an error stays. It returns what it has added.
	Import(ctx context.Context, stream io.Reader) ([]nix.Added, error)
	// Verify reads the paths back and compares them with what their narinfo files promise.
	Verify(ctx context.Context, paths []nix.StorePath) error
	// Closure returns what the store knows of the paths and of all that they refer to, in the order of paths.
	Closure(ctx context.Context, roots []nix.StorePath) ([]nix.PathInfo, error)
}

// Source takes the snapshot of a flake. [flake.Snapshotter] implements it.
type Source interface {
	Snapshot(ctx context.Context) (run.Snapshot, error)
}

// History visits the commits of a snapshot's repository. [flake.Snapshotter] implements it.
type History interface {
	History(ctx context.Context, s run.Snapshot, files []string, further string, visit contract.Visit) (complete bool, err error)
}

// CacheKeys knows by which public keys, in the form "name:base64", the cache that consumers use signs.
type CacheKeys interface {
	PublicKeys(ctx context.Context) ([]string, error)
}
