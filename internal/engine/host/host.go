// Package host runs the Nix of this machine: with the daemon, or as root without one.
package host

import (
	"bytes"
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
	// System is what is built. A foreign one runs by the kernel's binfmt entry.
	System matrix.System
	// Settings are what every command gets.
	Settings nix.Settings
	// Env is the whole environment of the children but NIX_CONFIG, which is made of the settings.
	Env []string

	access   Access
	machine  machine
	keeper   keeper
	added    sync.Map // directories that evaluation may read
	isolates bool     // evaluation finds no other files
}

// Options are what an executor is made of.
type Options struct {
	System   matrix.System
	Settings nix.Settings
	// Env is the environment that the children's is taken from; see [NixEnvironment].
	Env []string
	// Memlock is how much memory builders should be able to lock, in bytes; 0 leaves the limit as it is.
	Memlock int64
	// NoFallback makes a build fail where no sandbox can be had, rather than go on without one.
	NoFallback bool
	// Nix is what the executors of several systems find out only once; nil for an executor on its own.
	// Their Env must be the same.
	Nix *Nix
}

// Open looks at the machine and returns an executor for the system.
func Open(ctx context.Context, o Options) (*Executor, error) {
	access := InspectAccess(o.Env)
	if access.Nix == "" {
		return nil, access.Problem()
	}
	// machineInfo asks for the machine's own settings. Its plugins are not loaded: one may be of another version of Nix.
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

// sandboxed returns what every command gets, since many of them can start a builder: evaluation that imports from a
// derivation, --realise, --check. A command that has to build without a sandbox overrides it.
func sandboxed(noFallback bool) nix.Settings {
	s := nix.Settings{"sandbox": "true"}
	if noFallback {
		s["sandbox-fallback"] = "false"
	}
	return s
}

// AddPath returns dir: Nix reads the same file system as we do.
func (x *Executor) AddPath(_ context.Context, dir string) (string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	x.added.Store(absolute, true)
	return dir, nil
}

// Close lets go of what Keep holds.
func (x *Executor) Close() error {
	x.keeper.close()
	return nil
}

// Run runs a command of Nix.
func (x *Executor) Run(ctx context.Context, c engine.Command) ([]byte, error) {
	if c.Stdout != nil {
		return nil, x.run(ctx, c, c.Stdout)
	}
	var stdout bytes.Buffer
	err := x.run(ctx, c, &stdout)
	return stdout.Bytes(), err
}

// Export realises the paths and streams them to w.
func (x *Executor) Export(ctx context.Context, w io.Writer, paths []nix.StorePath) error {
	args := []string{"--realise"}
	for _, p := range paths {
		args = append(args, string(p))
	}
	if err := x.run(ctx, engine.Command{Program: "nix-store", Args: args}, io.Discard); err != nil {
		return err
	}
	args[0] = "--export"
	return x.run(ctx, engine.Command{Program: "nix-store", Args: args}, w)
}

// graceful is how long a child may take to end its own children and remove its temporary files.
const graceful = 10 * time.Second

func (x *Executor) run(ctx context.Context, c engine.Command, stdout io.Writer) error {
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
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = stdout, c.Stderr, graceful
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
