package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Command is one command of Nix, as an executor runs it.
type Command struct {
	// Program is the program's name: "nix", "nix-store", "nix-build", …
	Program string
	Args    []string
	// Settings override the executor's own settings for this command alone.
	Settings nix.Settings
	// Privileged asks for what a sandboxed build needs of a container. A host ignores it.
	Privileged bool
	// Neighbours puts builders into a build directory that has others beside theirs, in another place than without:
	// outside of a sandbox, its path differs. A daemon takes no notice.
	Neighbours bool
	// Stdout takes what the command writes to its standard output, of any size; Run returns nothing of it then.
	Stdout io.Writer
	// Stderr takes what the command writes to its standard error, while it runs. Nil drops it.
	// It is written by one goroutine at a time, and by none after Run has returned.
	Stderr io.Writer
}

// Executor runs Nix for one system.
// It is safe for concurrent use. A done context ends the processes it has started;
// the error is then the context's.
type Executor interface {
	// Describe looks at the engine without building anything.
	Describe(ctx context.Context) (Engine, error)
	// Place makes a directory of this machine readable for Nix, unchanged and with its modification times,
	// and returns the path under which Nix finds it.
	// The directory must not change until the executor is closed.
	Place(ctx context.Context, dir string) (string, error)
	// Run runs a command to its end and returns its standard output, which should be small unless Stdout takes it.
	// Where the command itself fails, the error is an [*ExitError].
	Run(ctx context.Context, cmd Command) ([]byte, error)
	// Export realises the store paths and writes them to w in the format of nix-store --export,
	// references before referrers, as one stream.
	Export(ctx context.Context, w io.Writer, paths []nix.StorePath) error
	// Keep protects store paths, and what they refer to, from garbage collectors until Close. They need not be there
	// yet: what is added under them later is protected too.
	Keep(ctx context.Context, paths []nix.StorePath) error
	// Close lets go of the engine. The engine itself is left as it was found.
	Close() error
}

// What an executor's error may say of the engine itself, rather than of the command: see [errors.Is].
var (
	// ErrEngineLost says that the engine, or the way to it, went away. All later calls fail with it as well.
	ErrEngineLost = errors.New("the engine was lost")
	// ErrDiskFull says that the engine has no room left for what it was to do.
	ErrDiskFull = errors.New("the engine's disk is full")
)

// ExitError says that a command of Nix ran and failed.
type ExitError struct {
	Program string
	// Code is the exit code, 128 and the signal's number where a signal ended it.
	Code int
	// Stderr is the end of what it wrote there, at most some KiB.
	Stderr string
}

// Engine is what Describe found.
type Engine struct {
	// Kind is "host" or "dagger".
	Kind string `json:"kind"`
	// Version is the engine's own version; empty for a host, which has none beside Nix's.
	Version string `json:"version,omitempty"`
	// Image is the container image by digest; empty for a host.
	Image string      `json:"image,omitempty"`
	Nix   nix.Version `json:"nix"`
	// Native is the system that the engine's processor runs without emulation.
	Native matrix.System `json:"native"`
	// Emulator says what runs a foreign system: "binfmt" where the kernel has an entry for it,
	// "container" where a container of the foreign platform is used instead, empty where nothing does or need.
	Emulator string `json:"emulator,omitempty"`
	// EmulatorVersion is what the emulator says of itself, such as "qemu-aarch64 version 7.2.22"; empty where nobody
	// can ask it: it belongs to the machine that the engine is on.
	EmulatorVersion string `json:"emulatorVersion,omitempty"`
	// Kernel is the release of the kernel, which every builder sees.
	Kernel string `json:"kernel,omitempty"`
	// Evaluation is how evaluation on this machine is kept from its files: "isolated" where it finds none but those that
	// Nix needs, "restricted" where only Nix's restrict-eval and its fetchers' protocols are in the way. Empty for a
	// container, which has no files of the machine.
	Evaluation string `json:"evaluation,omitempty"`
	// Cores is the number of processors.
	Cores int `json:"cores"`
	// SandboxPaths are files of the machine that its own nix.conf shows builders; an image, which is known by its
	// digest, has none of them.
	SandboxPaths []string `json:"sandboxPaths,omitempty"`
	// FreeBytes is the free space of the file system that holds the store; 0 where it is not known.
	FreeBytes int64 `json:"-"`
	// Ignored names substituters that this Nix would ignore, because it does not trust the user who asks.
	Ignored []string `json:"-"`
	// Refused is why this engine would not build for the system, although the system's programs run on it.
	Refused error `json:"-"`
	// Notes says what was lost on the way to this engine, for a person to read.
	Notes []string `json:"-"`
}

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
	Holder
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
	Snapshot(ctx context.Context) (Snapshot, error)
}

// History visits the commits of a snapshot's repository. [flake.Snapshotter] implements it.
type History interface {
	History(ctx context.Context, s Snapshot, files []string, further string, visit contract.Visit) (complete bool, err error)
}

// CacheKeys knows by which public keys, in the form "name:base64", the cache that consumers use signs.
type CacheKeys interface {
	PublicKeys(ctx context.Context) ([]string, error)
}

// Reporter shows events. Report is called by many goroutines; it must not block for long.
type Reporter interface {
	Report(at time.Time, e Event)
}

func (e *ExitError) Error() string {
	reason := nix.FirstLine(nix.ErrorMessage(e.Stderr))
	if reason == "" {
		return fmt.Sprintf("run %s: exit code %d", e.Program, e.Code)
	}
	return fmt.Sprintf("run %s: exit code %d: %s", e.Program, e.Code, reason)
}
