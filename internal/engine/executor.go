package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
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
	// BusyBuildDir puts builders into a build directory that has others beside theirs, in another place than without:
	// outside of a sandbox, its path differs. A daemon takes no notice.
	BusyBuildDir bool
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
	// AddPath makes a directory of this machine readable for Nix, unchanged and with its modification times,
	// and returns the path under which Nix finds it.
	// The directory must not change until the executor is closed.
	AddPath(ctx context.Context, dir string) (string, error)
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

func (e *ExitError) Error() string {
	reason := nix.FirstLine(nix.ErrorMessage(e.Stderr))
	if reason == "" {
		return fmt.Sprintf("run %s: exit code %d", e.Program, e.Code)
	}
	return fmt.Sprintf("run %s: exit code %d: %s", e.Program, e.Code, reason)
}

// Resources is what an engine measures of the machine that builds. A negative number is not known.
type Resources struct {
	// StoreFree and BuildFree are the bytes that builders may still write: to the store, and where they build.
	StoreFree, BuildFree int64
	// OOMKills counts the processes that the kernel has ended for want of memory.
	OOMKills int64
}

// ResourceMeter is an executor that measures. One that does not leaves unknown whether memory or a disk was at fault.
type ResourceMeter interface {
	Resources() Resources
}
