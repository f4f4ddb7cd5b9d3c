package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// build realises all packages to do with one command: Nix builds shared dependencies once, and continues after a
// failure.
func (c *cell) build(ctx context.Context) error {
	c.setMachines()
	err := c.Step(ctx, run.StepBuild, c.System, func() (string, error) {
		if len(c.todo) == 0 {
			return "", run.Skipped("a cache serves every output")
		}
		config := c.logConfig()
		config.Snapshot, config.Packages = c.snapshot, c.todo
		log := buildlog.New(config)
		c.result.Work = new(run.Work)
		if c.plan.Nothing() {
			// A query is enough, unless a garbage collector has run since the plan.
			if infos, err := c.runtimeClosure(ctx, c.todo); err == nil && len(absent(infos, c.todo)) == 0 {
				c.closure = infos
				return c.recordBuilds(ctx, log, nil, nil)
			}
		}
		known := c.derivations(ctx, c.plan.Build)
		log.SetDerivations(known)
		if err := c.recordPlanned(known); err != nil {
			for _, p := range c.todo {
				p.Failure = buildlog.CommandFailure(ctx, err)
			}
			return "", err
		}
		defer func() { *c.result.Work = log.Work() }()
		err := c.realiseAll(ctx, log)
		if err := ctx.Err(); err != nil {
			return "", c.interrupted(ctx, log, err)
		}
		return c.buildResults(ctx, log, err)
	})
	c.setMachines()
	c.probed.sandbox = c.result.Sandbox
	return err
}

// interrupted sets the failures of an interrupted build.
func (c *cell) interrupted(ctx context.Context, log *buildlog.Log, err error) error {
	log.DecideByStore(nil)
	for _, p := range c.todo {
		if p.Failure = log.Failure(p.Derivation); p.Failure == nil {
			p.Failure = buildlog.CommandFailure(ctx, err)
		}
	}
	return err
}

// buildResults sets the results of a build that ended with err.
func (c *cell) buildResults(ctx context.Context, log *buildlog.Log, err error) (string, error) {
	invalid, lookErr := c.inspect(ctx, err)
	if lookErr != nil {
		log.DecideByStore(nil)
		if !errors.Is(err, engine.ErrEngineLost) { // otherwise the next command has the same error
			err = errors.Join(err, lookErr)
		}
		return "", c.lostEngine(ctx, log, err)
	}
	if err != nil {
		c.decideByStore(ctx, log)
		c.keepSuccessful(ctx, log.BuiltDependencies())
		c.explainFailures(ctx, log, invalid)
	}
	for _, d := range log.FailedDownloads() {
		c.Event(run.DownloadsFailed{System: c.System, FailedDownloads: d})
	}
	return c.recordBuilds(ctx, log, invalid, err)
}

// logConfig configures the log of the cell's builds.
func (c *cell) logConfig() buildlog.Config {
	return buildlog.Config{
		Recorder: *c.Recorder, System: c.System, Logs: c.Logs, Stall: c.Stall, Builders: c.Builders, Unreachable: c.mentionUnreachable,
	}
}

// recordBuilds sets the result of each package. The store decides, rather than the log.
func (c *cell) recordBuilds(ctx context.Context, log *buildlog.Log, invalid map[nix.StorePath]bool, buildErr error) (string, error) {
	var failed []run.PackageResult
	counts := map[run.Verdict]int{}
	for _, p := range c.todo {
		log.RecordResult(p, invalid)
		if p.Verdict == run.Failed && p.Failure == nil {
			p.Failure = &run.Failure{Kind: run.UnknownFailure, Message: "Nix reported success, but an output is missing"}
			if buildErr != nil {
				p.Failure = buildlog.CommandFailure(ctx, buildErr)
			}
		}
		if p.Verdict == run.Failed {
			failed = append(failed, *p)
		}
		counts[p.Verdict]++
	}
	setSizes(c.closure, c.todo)
	if len(failed) > 0 {
		broken := &BuildError{System: c.System, Failed: failed, Mismatches: log.HashMismatches(), Downloads: log.FailedDownloads()}
		return "", withHints(broken, failed)
	}
	var parts []string
	for _, v := range []run.Verdict{run.Built, run.Substituted, run.Present} {
		if n := counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	return strings.Join(parts, ", "), nil
}

// inspect asks the store for the closure of the packages that it has completely, and returns the outputs that it lacks.
func (c *cell) inspect(ctx context.Context, buildErr error) (invalid map[nix.StorePath]bool, err error) {
	if buildErr == nil {
		// After a good build one query is enough, and each costs the start of a process. Nix fails if a path is invalid.
		if c.closure, err = c.runtimeClosure(ctx, c.todo); err == nil {
			return absent(c.closure, c.todo), nil
		}
	}
	if invalid, err = c.invalid(ctx, outputsOf(c.todo)); err != nil {
		return nil, err
	}
	_, complete := byValidity(c.todo, invalid)
	c.closure, err = c.runtimeClosure(ctx, complete)
	return invalid, err
}

// absent returns the outputs that infos lack.
func absent(infos []nix.PathInfo, packages []*run.PackageResult) map[nix.StorePath]bool {
	paths := nix.PathSet(outputsOf(packages))
	for _, info := range infos {
		delete(paths, info.Path)
	}
	return paths
}

// lostEngine sets the failures of the packages if the engine died, or cannot be queried after the build. Failures that
// Nix reported stay.
func (c *cell) lostEngine(ctx context.Context, log *buildlog.Log, err error) error {
	f := buildlog.CommandFailure(ctx, err)
	exit := (*engine.ExitError)(nil)
	switch {
	case errors.Is(err, engine.ErrDiskFull), errors.Is(err, engine.ErrEngineLost): // the engine reports that itself
	case !errors.As(err, &exit):
		f.Kind = run.EngineLost
	case log.NixError() != nil:
		f = log.NixError()
	}
	var known []run.PackageResult
	for _, p := range c.todo {
		p.Failure = log.Failure(p.Derivation)
		if p.Failure == nil || p.Failure.Kind == run.UnknownFailure || p.Failure.Kind == run.Unfinished {
			p.Failure = f
			continue
		}
		known = append(known, *p)
	}
	err = withHints(err, known)
	if advice := f.Hint(); advice != "" && len(hint.Of(err)) == 0 { // the engine's own hint is more exact
		return hint.Wrap(err, "%s", advice)
	}
	return err
}

// withHints adds the hints about failures to an error.
func withHints(err error, failed []run.PackageResult) error {
	for _, p := range failed {
		if advice := p.Failure.Hint(); advice != "" {
			err = hint.Wrap(err, "%s", advice)
		}
	}
	return err
}
