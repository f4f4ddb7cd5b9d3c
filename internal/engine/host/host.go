// Package host runs the Nix of this machine: with the daemon, or as root without one.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Executor runs Nix on this machine. It implements [engine.Executor].
type Executor struct {
	// System is the system to build for. The kernel's binfmt entry runs the programs of a foreign system.
	System matrix.System
	// Settings are the settings of every command.
	Settings nix.Settings
	// Env is the environment of the children without NIX_CONFIG, which has the settings.
	Env []string

	access   Access
	machine  machine
	keeper   keeper
	added    sync.Map // directories that evaluation may read
	isolates bool     // evaluation can read no other files
}

// Options are the options of [Open].
type Options struct {
	System   matrix.System
	Settings nix.Settings
	// Env is the environment of this process; see [NixEnvironment].
	Env []string
	// Memlock is how much memory builders should be able to lock, in bytes; 0 leaves the limit as it is.
	Memlock int64
	// NoFallback makes a build fail without a sandbox.
	NoFallback bool
	// Nix is shared by the executors of several systems with the same Env; nil for a single executor.
	Nix *Nix
}

// Open inspects the machine and returns an executor for the system.
func Open(ctx context.Context, o Options) (*Executor, error) {
	access := InspectAccess(o.Env)
	if access.Nix == "" {
		return nil, access.Problem()
	}
	// inspect reads the machine's own settings. Plugins are not loaded: they may be for another version of Nix.
	x := &Executor{System: o.System, Env: NixEnvironment(o.Env), Settings: nix.Settings{"plugin-files": ""}, access: access}
	raiseMemlock(o.Memlock)
	if o.Nix == nil {
		o.Nix = new(Nix)
	}
	m, err := x.inspect(ctx, o.Nix)
	if err != nil {
		return nil, err
	}
	needed, err := m.settings(o.System)
	if err != nil {
		return nil, err
	}
	x.machine = m
	x.Settings = o.Settings.With(needed).With(sandboxed(o.NoFallback)).With(m.restrictions())
	x.isolates = x.tryIsolation(ctx)
	return x, nil
}

// sandboxed returns settings for every command, since many commands can start a builder: evaluation that imports from a
// derivation, --realise, --check. A command that has to build without a sandbox overrides them.
func sandboxed(noFallback bool) nix.Settings {
	s := nix.Settings{"sandbox": "true"}
	if noFallback {
		s["sandbox-fallback"] = "false"
	}
	return s
}

// AddPath returns dir: Nix reads the same file system as this process.
func (x *Executor) AddPath(_ context.Context, dir string) (string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	x.added.Store(absolute, true)
	return dir, nil
}

// Close ends the protection by Keep.
func (x *Executor) Close() error {
	x.keeper.close()
	return nil
}

// Run runs a command of Nix.
func (x *Executor) Run(ctx context.Context, c engine.Command) ([]byte, error) {
	return c.Output(func(c engine.Command) error { return x.run(ctx, c) })
}

// Export realises the paths and streams them to w.
func (x *Executor) Export(ctx context.Context, w io.Writer, paths []nix.StorePath) error {
	args := []string{"--realise"}
	for _, p := range paths {
		args = append(args, string(p))
	}
	if err := x.run(ctx, engine.Command{Program: "nix-store", Args: args}); err != nil {
		return err
	}
	args[0] = "--export"
	return x.run(ctx, engine.Command{Program: "nix-store", Args: args, Stdout: w})
}

// graceful is how long a child may take to end its own children and remove its temporary files.
const graceful = 10 * time.Second

func (x *Executor) run(ctx context.Context, c engine.Command) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, c.Program, c.Args...)
	cmd.Env = append(append([]string{}, x.Env...), "NIX_CONFIG="+x.settings(c).Config())
	if c.BusyBuildDir {
		dir, err := x.makeBusyBuildDir()
		if err != nil {
			return fmt.Errorf("run %s: make build directory: %v", c.Program, err)
		}
		defer dir.Remove()
		cmd.Env = append(cmd.Env, "TMPDIR="+dir.Path) // the last one counts
	}
	cleanup, err := x.restrict(cmd, c)
	if err != nil {
		return fmt.Errorf("run %s: %w", c.Program, err)
	}
	defer cleanup()
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = c.Stdout, c.Stderr, graceful
	stderr, err := child.Run(ctx, cmd)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	code, failed := child.ExitCode(err)
	switch {
	case failed:
		return x.hintFull(&engine.ExitError{Program: c.Program, Code: code, Stderr: stderr})
	case errors.Is(err, exec.ErrNotFound):
		return hint.Wrap(fmt.Errorf("run %s: not found on PATH", c.Program), "go run ./ci doctor")
	case err != nil:
		return fmt.Errorf("run %s: %v", c.Program, err)
	}
	return nil
}
