package engine

import (
	"bytes"
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
	// Settings override the executor's own settings for this command.
	Settings nix.Settings
	// Privileged gives the command the privileges that a sandboxed build needs in a container. A host ignores it.
	Privileged bool
	// BusyBuildDir runs builders in another build directory, which looks as if other builds run in it. Outside of a
	// sandbox its path differs. A daemon ignores it.
	BusyBuildDir bool
	// Stdout gets the standard output, of any size. Run then returns none.
	Stdout io.Writer
	// Stderr gets the standard error while the command runs; nil drops it.
	// Only one goroutine writes to it at a time, and none after Run has returned.
	Stderr io.Writer
}

// Output calls run with the command, and returns its standard output, unless the command has a writer for it.
func (c Command) Output(run func(Command) error) ([]byte, error) {
	if c.Stdout != nil {
		return nil, run(c)
	}
	var stdout bytes.Buffer
	c.Stdout = &stdout
	err := run(c)
	return stdout.Bytes(), err
}

// Executor runs Nix for one system.
// It is safe for concurrent use. When a context ends, the processes that were started with it end too, and the error is
// that of the context.
type Executor interface {
	// Describe returns facts about the engine. It builds nothing.
	Describe(ctx context.Context) (Engine, error)
	// AddPath makes a directory of this machine readable for Nix, with its contents and modification times, and returns its
	// path for Nix. The directory must not change until the executor is closed.
	AddPath(ctx context.Context, dir string) (string, error)
	// Run runs a command to its end and returns its standard output, which should be small unless Stdout takes it.
	// If the command itself fails, the error is an [*ExitError].
	Run(ctx context.Context, cmd Command) ([]byte, error)
	// Export realises the store paths and writes them to w in the format of nix-store --export,
	// references before referrers, as one stream.
	Export(ctx context.Context, w io.Writer, paths []nix.StorePath) error
	// Keep protects store paths and their references from garbage collectors until Close. The paths need not exist yet:
	// objects that are added later are protected too.
	Keep(ctx context.Context, paths []nix.StorePath) error
	// Close ends the use of the engine, which keeps running.
	Close() error
}

// Errors of the engine, not of a command. Use them with [errors.Is].
var (
	// ErrEngineLost means that the engine ended or cannot be reached. All later calls fail with it as well.
	ErrEngineLost = errors.New("the engine was lost")
	// ErrDiskFull means that the engine has no disk space left.
	ErrDiskFull = errors.New("the engine's disk is full")
)

// NoPrivileges is the error text of an engine that does not allow the privileges that Nix needs for a sandbox.
const NoPrivileges = "the engine does not allow privileged containers"

// ExitError means that a command of Nix ran and failed.
type ExitError struct {
	Program string
	// Code is the exit code; 128 and the signal's number if a signal ended it.
	Code int
	// Stderr is the end of its error output, at most some KiB.
	Stderr string
}

func (e *ExitError) Error() string {
	reason := nix.FirstLine(nix.ErrorMessage(e.Stderr))
	if reason == "" {
		return fmt.Sprintf("run %s: exit code %d", e.Program, e.Code)
	}
	return fmt.Sprintf("run %s: exit code %d: %s", e.Program, e.Code, reason)
}

// Resources are measurements of the machine that builds. A negative number is not known.
type Resources struct {
	// StoreFree and BuildFree are the bytes that builders may still write: to the store, and where they build.
	StoreFree, BuildFree int64
	// OOMKills counts the processes that the kernel has killed because memory ran out.
	OOMKills int64
}

// ResourceMeter is an executor that measures resources. Without it, a failure for lack of memory or disk space is not known
// as such.
type ResourceMeter interface {
	Resources() Resources
}
