package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The values of --engine that are not of one system.
const (
	engineAuto   = "auto"
	engineDagger = "dagger"
	engineHost   = "host"
)

// engineChoice is the value of --engine: a kind for all systems, and URLs of native engines for some.
type engineChoice struct {
	flag   string // that it was read from
	kind   string
	native map[matrix.System]string
}

// engineOptions say where and how Nix builds.
type engineOptions struct {
	engines  engineChoice
	image    dagger.Image
	builders []nix.Builder
	jobs     jobs
	// timeout limits the command, stall the silence of a build.
	timeout, stall time.Duration

	engineTexts             []string
	imageText, buildersText string
}

// register adds the flags. --image, whose default differs, and --stall-timeout are the commands' own.
func (o *engineOptions) register(s *pflag.FlagSet) {
	s.StringArrayVar(&o.engineTexts, "engine", []string{engineAuto}, "auto, dagger or host; or SYSTEM=URL of a native Dagger engine; repeatable")
	s.StringVar(&o.buildersText, "builders", "", "remote builders, as in nix.conf")
	s.Var(&o.jobs, "jobs", jobsUsage)
	limitVar(s, &o.timeout, timeoutFlag, 0, "maximum time of the command, from its start to its end (default: no limit)")
}

// parse parses the texts of the flags.
func (o *engineOptions) parse() (err error) {
	if o.engines, err = parseEngineChoice("--engine", o.engineTexts); err != nil {
		return err
	}
	o.engines.kind = cmp.Or(o.engines.kind, engineAuto)
	if o.image, err = dagger.ParseImage(o.imageText); err != nil {
		return err
	}
	o.builders, err = parseBuilders(o.buildersText, o.jobs)
	return err
}

// parseEngineChoice reads the values of a flag that names engines. The kind is empty where none was given.
func parseEngineChoice(flag string, values []string) (engineChoice, error) {
	choice := engineChoice{flag: flag, native: map[matrix.System]string{}}
	for _, s := range values {
		name, url, ofSystem := strings.Cut(s, "=")
		if ofSystem {
			system, err := matrix.ParseSystem(name)
			if err != nil {
				return choice, err
			}
			if err := dagger.CheckAddress(url); err != nil {
				return choice, fmt.Errorf("parse %s %q: %w", flag, nix.Redact(s), err)
			}
			choice.native[system] = url
			continue
		}
		switch s {
		case engineAuto, engineDagger, engineHost:
			choice.kind = s
		default:
			return choice, hint.Wrap(fmt.Errorf("parse %s %q: not auto, dagger, host or SYSTEM=URL", flag, s),
				"for example %s aarch64-linux=tcp://arm.example:8080", flag)
		}
	}
	return choice, nil
}

// engines opens executors. It implements [pipelines.Engines].
type engines struct {
	choice   engineChoice
	image    dagger.Image
	memlock  int64
	settings nix.Settings
	environ  []string
	cacheDir string
	log      io.Writer
	logFile  string // where log goes
	notice   func(text string)
	// guarded is whether there is a secret that a builder without a sandbox could take.
	guarded bool

	// nix is this machine's Nix. It is examined once for all systems.
	nix host.Nix

	// auto is decided once for all systems, so that their outputs come from one kind of engine.
	auto     sync.Once
	autoKind string
	autoErr  error
}

// with returns a copy for another choice.
func (e *engines) with(choice engineChoice) *engines {
	return &engines{
		choice: choice, image: e.image, memlock: e.memlock, settings: e.settings, environ: e.environ,
		cacheDir: e.cacheDir, log: e.log, logFile: e.logFile, notice: e.notice, guarded: e.guarded,
	}
}

// Open opens an executor for the system.
func (e *engines) Open(ctx context.Context, system matrix.System) (engine.Executor, error) {
	if url := e.choice.native[system]; url != "" {
		return e.container(ctx, system, url)
	}
	kind := e.choice.kind
	if kind == engineAuto {
		e.auto.Do(func() { e.autoKind, e.autoErr = e.choose(ctx) })
		if e.autoErr != nil {
			return nil, e.autoErr
		}
		kind = e.autoKind
	}
	if kind == engineHost {
		return e.host(ctx, system)
	}
	return e.container(ctx, system, "")
}

// choose takes Dagger if an engine or a runtime answers, else this machine's Nix. It reports the choice.
func (e *engines) choose(ctx context.Context) (string, error) {
	found, daggerErr := dagger.Detect(ctx, e.environ)
	if daggerErr == nil {
		e.notice("engine dagger: " + found)
		return engineDagger, nil
	}
	access := host.InspectAccess(e.environ)
	if access.Nix != "" {
		e.notice(fmt.Sprintf("engine host: %s, since no container engine answers (%v)", access.Nix, daggerErr))
		return engineHost, nil
	}
	return "", hint.Wrap(errors.New("find an engine: no container runtime answers, and nix is not on PATH"),
		"start Docker, or: %s", strings.Join(hint.Of(access.Problem()), "; "))
}

func (e *engines) host(ctx context.Context, system matrix.System) (engine.Executor, error) {
	return host.Open(ctx, host.Options{
		System: system, Settings: e.settings, Env: e.environ, Memlock: e.memlock, NoFallback: e.guarded, Nix: &e.nix,
	})
}

func (e *engines) container(ctx context.Context, system matrix.System, url string) (engine.Executor, error) {
	return dagger.Open(ctx, dagger.Options{
		System: system, RunnerHost: url, RunnerFlag: fmt.Sprintf("%s %s=URL", e.choice.flag, system), Image: e.image, Settings: e.settings, Env: e.environ, Memlock: e.memlock,
		Log: e.log, LogFile: e.logFile, Notice: e.notice, Cache: e.cacheDir,
	})
}
