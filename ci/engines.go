package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The values of --engine that are not of one system.
const (
	engineAuto   = "auto"
	engineDagger = "dagger"
	engineHost   = "host"
)

// engineChoice is the value of --engine: a kind for all systems, and URLs of native engines for some. It implements
// [pflag.Value].
type engineChoice struct {
	flag   string // "--engine" or "--rebuild-on"
	kind   string // empty if none was given
	native map[matrix.System]string
	texts  []string // as given
}

func (c *engineChoice) register(s *pflag.FlagSet, name, usage string) {
	c.flag = "--" + name
	s.Var(c, name, usage)
}

func (c *engineChoice) Set(text string) error {
	name, url, ofSystem := strings.Cut(text, "=")
	switch {
	case ofSystem:
		system, err := matrix.ParseSystem(name)
		if err != nil {
			return err
		}
		if err := dagger.CheckAddress(url); err != nil {
			return err
		}
		if c.native == nil {
			c.native = map[matrix.System]string{}
		}
		c.native[system] = url
	case slices.Contains([]string{engineAuto, engineDagger, engineHost}, text):
		c.kind = text
	default:
		return hint.Wrap(errors.New("not auto, dagger, host or SYSTEM=URL"), "for example %s aarch64-linux=tcp://arm.example:8080", c.flag)
	}
	c.texts = append(c.texts, text)
	return nil
}

func (c *engineChoice) String() string     { return strings.Join(c.texts, " ") }
func (c *engineChoice) Type() string       { return "stringArray" }
func (c *engineChoice) GetSlice() []string { return c.texts }

// engineOptions say where and how Nix builds.
type engineOptions struct {
	engines  engineChoice
	image    dagger.Image
	builders []nix.Builder
	jobs     string // the value of Nix's max-jobs
	// timeout limits the command, stall the silence of a build.
	timeout, stall time.Duration
}

func (o *engineOptions) register(s *pflag.FlagSet) {
	o.registerEngine(s)
	s.Var(valueOf(&o.image, dagger.DefaultImage, dagger.ParseImage), "image", "Nix image: a reference pinned by digest, or an archive or root file system tarball")
	limitVar(s, &o.stall, "stall-timeout", 5*time.Minute, "show the last lines of a build that prints nothing for this long")
}

// registerEngine adds the flags that reproduce has too.
func (o *engineOptions) registerEngine(s *pflag.FlagSet) {
	o.jobs = "auto" // one job on each processor
	o.engines.register(s, "engine", "auto (default), dagger or host; or SYSTEM=URL of a native Dagger engine; repeatable")
	s.Var(valueOf(&o.builders, "", parseBuilders), "builders", "remote builders, as in nix.conf")
	s.Var(valueOf(&o.jobs, "", parseJobs), "jobs", "`number` of derivations that Nix builds at a time on this machine; 0 builds only on --builders (default: one for each processor)")
	limitVar(s, &o.timeout, timeoutFlag, 0, "maximum time of the command, from its start to its end (default: no limit)")
}

// check refuses options that leave no machine to build.
func (o *engineOptions) check() error {
	if o.jobs == "0" && len(o.builders) == 0 {
		return hint.Wrap(errors.New("parse --jobs 0: it builds on remote builders alone, and there are none"),
			"name them: --builders 'ssh-ng://arm.example aarch64-linux'; or give --jobs 1 or more")
	}
	return nil
}

func parseJobs(text string) (string, error) {
	n, err := parseCount(text)
	return strconv.Itoa(n), err
}

func parseBuilders(text string) ([]nix.Builder, error) {
	builders, err := nix.ParseBuilders(text)
	return builders, hint.Wrap(err, "for example --builders 'ssh-ng://arm.example aarch64-linux'")
}

// engines opens executors. It implements [pipelines.Engines].
type engines struct {
	choice engineChoice
	// host and container are the options of all systems.
	host      host.Options
	container dagger.Options

	// auto is decided once for all systems, so that their outputs come from one kind of engine.
	auto     sync.Once
	autoKind string
	autoErr  error
}

// newEngines returns the engines for a choice. Both kinds have the settings, environment and limit of h.
func newEngines(choice engineChoice, h host.Options, c dagger.Options) *engines {
	h.Nix = new(host.Nix)
	c.Settings, c.Env, c.Memlock = h.Settings, h.Env, h.Memlock
	return &engines{choice: choice, host: h, container: c}
}

// Open opens an executor for the system.
func (e *engines) Open(ctx context.Context, system matrix.System) (engine.Executor, error) {
	if url := e.choice.native[system]; url != "" {
		return e.openContainer(ctx, system, url)
	}
	kind := e.choice.kind
	if kind == "" || kind == engineAuto {
		e.auto.Do(func() { e.autoKind, e.autoErr = e.choose(ctx) })
		if e.autoErr != nil {
			return nil, e.autoErr
		}
		kind = e.autoKind
	}
	if kind == engineHost {
		o := e.host
		o.System = system
		return host.Open(ctx, o)
	}
	return e.openContainer(ctx, system, "")
}

// choose returns dagger if an engine or a container runtime answers, or else host. It reports the choice.
func (e *engines) choose(ctx context.Context) (string, error) {
	found, daggerErr := dagger.Detect(ctx, e.host.Env)
	if daggerErr == nil {
		e.container.Notice("engine dagger: " + found)
		return engineDagger, nil
	}
	access := host.InspectAccess(e.host.Env)
	if access.Nix != "" {
		e.container.Notice(fmt.Sprintf("engine host: %s, since no container engine answers (%v)", access.Nix, daggerErr))
		return engineHost, nil
	}
	return "", hint.Wrap(errors.New("find an engine: no container runtime answers, and nix is not on PATH"),
		"start Docker, or: %s", strings.Join(hint.Of(access.Problem()), "; "))
}

func (e *engines) openContainer(ctx context.Context, system matrix.System, url string) (engine.Executor, error) {
	o := e.container
	o.System, o.RunnerHost, o.RunnerFlag = system, url, fmt.Sprintf("%s %s=URL", e.choice.flag, system)
	return dagger.Open(ctx, o)
}

// lazyFile is a log that is made when something is written to it. Its text is cleaned.
type lazyFile struct {
	regular.File
	text *report.Output // writes to the lazyFile, one line at a time
	file *os.File
}

// when returns the writer of the log, or nil if it is not wanted: a client without a log saves memory.
func (f *lazyFile) when(wanted bool) io.Writer {
	if !wanted {
		return nil
	}
	f.text = report.NewOutput(f)
	return f.text
}

// Write returns no error, because a missing log must not fail a run.
func (f *lazyFile) Write(p []byte) (int, error) {
	if f.file == nil {
		file, err := f.Dir.CreateNew(f.Base)
		if err != nil {
			return len(p), nil
		}
		f.file = file
	}
	f.file.Write(p)
	return len(p), nil
}

func (f *lazyFile) Close() {
	if f.text != nil {
		_ = f.text.Flush()
	}
	if f.file != nil {
		f.file.Close()
	}
}
