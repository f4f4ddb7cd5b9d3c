package pipelines

import (
	"context"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Cache is a binary cache. It is safe for concurrent use.
type Cache interface {
	// Name is a URL or a directory.
	Name() string
	// Missing returns the paths that the cache lacks, in the given order.
	Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error)
}

// Store is the cache that a run exports into. It has an object only if a run of this user has recorded its contents, and
// the store has the same.
type Store interface {
	Cache
	run.NARHasher
	// SetAside moves objects with other contents than recorded out of the way, and keeps them.
	SetAside(ctx context.Context, paths []nix.StorePath) error
	// LeaveOut makes objects whose contents are recorded count as there, without a file: a public cache has them.
	LeaveOut(paths []nix.StorePath)
	// Import adds the store objects of a stream of nix-store --export, and returns them. Each becomes visible when it and
	// everything that it refers to is complete. Objects that are complete before an error stay.
	Import(ctx context.Context, stream io.Reader) ([]nix.Added, error)
	// Verify reads the paths back and compares them with their narinfo files.
	Verify(ctx context.Context, paths []nix.StorePath) error
	// Closure returns the infos of the paths and of everything that they refer to, sorted by path.
	Closure(ctx context.Context, roots []nix.StorePath) ([]nix.PathInfo, error)
}

// Engines opens an executor for a system. Cells call it at the same time.
type Engines interface {
	Open(ctx context.Context, system matrix.System) (engine.Executor, error)
}

// Source takes the snapshot of a flake. [flake.Snapshotter] implements it.
type Source interface {
	Snapshot(ctx context.Context) (run.Snapshot, error)
}

// History visits the commits of a snapshot's repository. [flake.Snapshotter] implements it.
type History interface {
	History(ctx context.Context, s run.Snapshot, files []string, further string, visit contract.Visit) (complete bool, err error)
}

// CacheKeys returns the public keys of the cache that consumers use, in the form "name:base64".
type CacheKeys interface {
	PublicKeys(ctx context.Context) ([]string, error)
}
