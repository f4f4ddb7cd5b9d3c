// Package dagger runs Nix in containers of a Dagger engine.
//
// An executor is one session with an engine and one image, whose /nix is on a cache volume that other sessions use too.
// Each command is one exec, which Dagger never takes from its cache. The output of a command does not go through
// Dagger's log, which keeps all of it in memory, but over a separate connection: see [tunnel]. Only this package
// imports dagger.io/dagger.
package dagger

import (
	"context"
	"fmt"
	"io"
	"sync"

	"dagger.io/dagger"
	"dagger.io/dagger/engineconn"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Options say which engine is used, and how.
type Options struct {
	// System is the system to build for.
	System matrix.System
	// RunnerHost is the engine's address, such as "tcp://host:1234". Empty leaves the choice to Dagger's own rules:
	// the session of "dagger run", then _EXPERIMENTAL_DAGGER_RUNNER_HOST, then a container runtime of this machine.
	RunnerHost string
	// RunnerFlag is the flag that set RunnerHost, for a hint.
	RunnerFlag string
	// Image is the image in which commands run; the zero Image is [DefaultImage].
	Image Image
	// Settings are the settings of every command.
	Settings nix.Settings
	// Env is the environment of this process. The Dagger client gets some variables, containers none; see [environment].
	Env []string
	// Memlock is how much memory in bytes a builder should be able to lock. It is raised where the engine allows that;
	// negative is without limit, zero leaves the limit alone.
	Memlock int64
	// Log gets the whole progress log of the Dagger client, and LogFile is its file for the user. A nil Log drops it, which
	// saves memory of the client.
	Log     io.Writer
	LogFile string
	// Notice is called with a short text when an operation takes long. It may be nil.
	Notice func(string)
	// Cache is a directory for converted images. It need not exist.
	Cache string

	limits limits // zero for defaultLimits
}

// Executor runs Nix in containers of one engine. It implements [engine.Executor].
type Executor struct {
	options Options
	session *session
	client  *dagger.Client
	host    string // the engine's address; empty if Dagger finds it by itself
	tunnel  *tunnel
	version string // of the engine

	image     loadedImage
	platform  matrix.System     // of the container
	rootfs    *dagger.Container // the image as it is
	container *dagger.Container // the image with its volumes and the tunnel
	exec      execFunc
	settings  nix.Settings
	machine   machine

	mu    sync.Mutex
	added map[string]*dagger.Directory // by path in the container
	roots roots

	closing sync.Once
}

// Open connects to an engine and returns an executor for the system.
//
// The context bounds Open alone: the session with the engine lasts until [Executor.Close], since a context that is done
// must still be able to end commands in order. Errors say what is wrong with the image, with this machine, or with the
// engine; nearly all have a hint.
func Open(ctx context.Context, o Options) (_ *Executor, err error) {
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	if o.limits == (limits{}) {
		o.limits = defaultLimits
	}
	image, err := o.loadImage(ctx)
	if err != nil {
		return nil, err
	}
	target, err := find(ctx, o.Env, o.RunnerHost, o.RunnerFlag)
	if err != nil {
		return nil, err
	}
	x := &Executor{options: o, image: image, host: target.host, added: map[string]*dagger.Directory{}}
	defer func() {
		if err != nil {
			_ = x.Close() // the first error matters
		}
	}()
	if x.session, err = connect(ctx, target, o); err != nil {
		return nil, err
	}
	x.session.watch(o.Notice)
	// The connection exists already, so the context bounds nothing here.
	if x.client, err = dagger.Connect(context.WithoutCancel(ctx), dagger.WithConn(x.session)); err != nil {
		return nil, fmt.Errorf("connect to Dagger engine: %v", err)
	}
	if err := x.prepare(ctx); err != nil {
		return nil, err
	}
	return x, nil
}

// prepare makes the container and inspects it.
func (x *Executor) prepare(ctx context.Context) error {
	var platform dagger.Platform
	err := x.query(ctx, x.options.limits.answer, "ask engine for its version and platform", nil, func(ctx context.Context) (err error) {
		if x.version, err = x.client.Version(ctx); err == nil {
			platform, err = x.client.DefaultPlatform(ctx)
		}
		return err
	})
	if err != nil {
		return err
	}
	native, ok := matrix.ByPlatform(string(platform))
	if !ok {
		return hint.Wrap(fmt.Errorf("use engine: its platform is %s", platform), "use an engine on one of %v", matrix.Systems())
	}
	if x.tunnel, err = openTunnel(); err != nil {
		return err
	}
	return x.choose(ctx, native)
}

// Close ends the session. The engine is left running, with its volumes.
func (x *Executor) Close() error {
	x.closing.Do(func() {
		x.dropRoots()
		if x.tunnel != nil {
			x.tunnel.close()
		}
		if x.session != nil {
			_ = x.session.Close() // a command has returned its error already
		}
	})
	return nil
}

// Describe implements [engine.Executor].
func (x *Executor) Describe(ctx context.Context) (engine.Engine, error) {
	m, err := x.machineInfo(ctx)
	if err != nil {
		return engine.Engine{}, err
	}
	e := engine.Engine{
		Kind: "dagger", Version: x.version, Image: x.image.identity, Nix: m.nix, Native: x.machine.native,
		Emulator: x.machine.emulator, Compatible: x.machine.compatible, Cores: m.cores, FreeBytes: m.free, Notes: x.machine.notes, Kernel: m.kernel,
	}
	if e.Emulator == "binfmt" && m.boot != "" && m.boot == binfmt.Boot() {
		// The engine is on this machine, and so is the emulator that its kernel starts.
		if entry := binfmt.Find(x.options.System); entry != nil {
			e.EmulatorVersion = entry.Version(ctx)
		}
	}
	return e, nil
}

var (
	_ engine.Executor       = (*Executor)(nil)
	_ engineconn.EngineConn = (*session)(nil)
)
