package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// BuildError says which packages of a cell were not built, and why.
type BuildError struct {
	System matrix.System
	// Failed are the packages that have no outputs.
	Failed []run.PackageResult
	// Mismatches are the fetches whose hash was wrong; each keeps a package from being built.
	Mismatches []contract.Mismatch
	// Downloads are the fetches that got nothing, by reason.
	Downloads []run.FailedDownloads
}

func (e *BuildError) Error() string {
	reasons := make([]string, len(e.Failed))
	for i, p := range e.Failed {
		reasons[i] = fmt.Sprintf("%s: %s", p.Package, p.Failure.Message)
		if p.Failure.Kind != run.BuilderFailed && p.Failure.Kind != run.UnknownFailure {
			reasons[i] = fmt.Sprintf("%s: %s: %s", p.Package, p.Failure.Kind, p.Failure.Message)
		}
	}
	for _, d := range e.Downloads {
		reasons = append(reasons, d.String())
	}
	return "build " + strings.Join(reasons, "; ")
}

// build realises all packages of the cell that no cache serves, with one command:
// Nix builds what they share once, and the siblings of a failed package to their end.
// It returns the runtime closure of those that are good, and of whatever else was built before something failed,
// and what Nix had to do.
func (r *Release) build(ctx context.Context, x engine.Executor, e engine.Engine, s run.Snapshot, cell matrix.Cell, todo []*run.PackageResult, plan run.Plan, p probed) (closure []nix.PathInfo, work *run.Work, err error) {
	err = r.Step(ctx, run.StepBuild, cell.System, func() (string, error) {
		if len(todo) == 0 {
			return "", run.Skipped("a cache serves every output")
		}
		config := r.logConfig(cell.System)
		config.Snapshot, config.Packages = s, todo
		log := buildlog.New(config)
		work = new(run.Work)
		if plan.Nothing() {
			// A look is all there is to do, unless a collector has come since the plan was made.
			if infos, err := r.pathInfo(ctx, x, e, todo); err == nil && len(absent(infos, todo)) == 0 {
				closure = infos
				return recordResults(ctx, cell, todo, log, infos, nil, nil)
			}
		}
		known := r.derivations(ctx, x, e, plan.Build)
		log.SetDerivations(known)
		if err := r.recordPlanned(plan, known, p); err != nil {
			for _, p := range todo {
				p.Failure = buildlog.CommandFailure(ctx, err)
			}
			return "", err
		}
		defer func() { *work = log.Work() }()
		err := r.realiseAll(ctx, x, todo, p, log)
		if err := ctx.Err(); err != nil {
			log.DecideByStore(nil)
			for _, p := range todo {
				if p.Failure = log.Failure(p.Derivation); p.Failure == nil {
					p.Failure = buildlog.CommandFailure(ctx, err)
				}
			}
			return "", err
		}
		infos, invalid, lookErr := r.inspect(ctx, x, e, todo, err)
		if lookErr != nil {
			log.DecideByStore(nil)
			if !errors.Is(err, engine.ErrEngineLost) { // else it says the same of the next command
				err = errors.Join(err, lookErr)
			}
			return "", lostEngine(ctx, log, todo, err)
		}
		closure = infos
		if err != nil {
			r.resolve(ctx, x, e, log)
			closure = r.salvage(ctx, x, e, cell, log.BuiltDependencies(), infos)
			r.explainPackages(ctx, x, log, todo, invalid)
		}
		for _, d := range log.FailedDownloads() {
			r.Event(run.DownloadsFailed{System: cell.System, FailedDownloads: d})
		}
		return recordResults(ctx, cell, todo, log, infos, invalid, err)
	})
	return closure, work, err
}

// logConfig configures the log of a system's builds.
func (r *Release) logConfig(system matrix.System) buildlog.Config {
	return buildlog.Config{
		Recorder: *r.Recorder, System: system, Logs: r.Logs, Stall: r.Stall, Builders: r.Builders,
		Unreachable: func(builder, reason string) { r.mentionDown(system, builder, reason) },
	}
}

// recordResults sets the result of each package. The store decides, rather than the log.
func recordResults(ctx context.Context, cell matrix.Cell, todo []*run.PackageResult, log *buildlog.Log, closure []nix.PathInfo, invalid map[nix.StorePath]bool, buildErr error) (string, error) {
	var failed []run.PackageResult
	counts := map[run.Verdict]int{}
	for _, p := range todo {
		log.RecordResult(p, invalid)
		if p.Verdict == run.Failed && p.Failure == nil {
			p.Failure = &run.Failure{Kind: run.UnknownFailure, Message: "Nix said it was done, and an output is not there"}
			if buildErr != nil {
				p.Failure = buildlog.CommandFailure(ctx, buildErr)
			}
		}
		if p.Verdict == run.Failed {
			failed = append(failed, *p)
		}
		counts[p.Verdict]++
	}
	measure(closure, todo)
	if len(failed) > 0 {
		broken := &BuildError{System: cell.System, Failed: failed, Mismatches: log.HashMismatches(), Downloads: log.FailedDownloads()}
		return "", withHints(broken, failed)
	}
	return tally(counts), nil
}

// inspect asks the store for the runtime closure of the packages that it has whole, and for the outputs that it has not.
func (r *Release) inspect(ctx context.Context, x engine.Executor, e engine.Engine, todo []*run.PackageResult, buildErr error) (closure []nix.PathInfo, invalid map[nix.StorePath]bool, err error) {
	if buildErr == nil {
		// One question is enough where all went well, and each costs the start of a process. Nix fails where a path is invalid.
		if closure, err = r.pathInfo(ctx, x, e, todo); err == nil {
			return closure, absent(closure, todo), nil
		}
	}
	if invalid, err = r.invalid(ctx, x, todo); err != nil {
		return nil, nil, err
	}
	var good []*run.PackageResult
	for _, p := range todo {
		if !slices.ContainsFunc(p.Outputs, func(o run.Output) bool { return invalid[o.Path] }) {
			good = append(good, p)
		}
	}
	closure, err = r.pathInfo(ctx, x, e, good)
	return closure, invalid, err
}

// absent returns those outputs that infos say nothing of.
func absent(infos []nix.PathInfo, todo []*run.PackageResult) map[nix.StorePath]bool {
	paths := map[nix.StorePath]bool{}
	for _, p := range todo {
		for _, o := range p.Outputs {
			paths[o.Path] = true
		}
	}
	for _, info := range infos {
		delete(paths, info.Path)
	}
	return paths
}

// invalid returns those outputs that the store does not have.
func (r *Release) invalid(ctx context.Context, x engine.Executor, todo []*run.PackageResult) (map[nix.StorePath]bool, error) {
	args := append([]string{"--check-validity", "--print-invalid"}, pathArgs(todo)...)
	out, err := x.Run(ctx, engine.Command{Program: "nix-store", Args: args, Settings: r.Settings})
	if err != nil {
		return nil, fmt.Errorf("check outputs: %w", err)
	}
	paths, err := nix.ParseStorePaths(string(out))
	invalid := make(map[nix.StorePath]bool, len(paths))
	for _, p := range paths {
		invalid[p] = true
	}
	return invalid, err
}

// measure notes hashes and sizes of the outputs that are there, and of their closures.
func measure(infos []nix.PathInfo, todo []*run.PackageResult) {
	byPath := make(map[nix.StorePath]*nix.PathInfo, len(infos))
	for i := range infos {
		byPath[infos[i].Path] = &infos[i]
	}
	for _, p := range todo {
		var roots []nix.StorePath
		for i, o := range p.Outputs {
			if info := byPath[o.Path]; info != nil {
				p.Outputs[i].NARHash, p.Outputs[i].NARSize = info.NARHash.SRI(), info.NARSize
				roots = append(roots, o.Path)
			}
		}
		closure := nix.Closure(infos, roots...)
		p.ClosurePaths, p.ClosureBytes = len(closure), 0
		for _, info := range closure {
			p.ClosureBytes += info.NARSize
		}
	}
}

// pathInfo returns the runtime closure of the packages.
func (r *Release) pathInfo(ctx context.Context, x engine.Executor, e engine.Engine, packages []*run.PackageResult) ([]nix.PathInfo, error) {
	if len(packages) == 0 {
		return nil, nil
	}
	args := append(nix.PathInfoArgs(e.Nix), "--recursive")
	args = append(args, pathArgs(packages)...)
	out, err := x.Run(ctx, engine.Command{Program: "nix", Args: args, Settings: r.Settings})
	if err != nil {
		return nil, fmt.Errorf("measure closure: %w", err)
	}
	return nix.ParsePathInfo(out)
}

func pathArgs(packages []*run.PackageResult) []string {
	var args []string
	for _, p := range packages {
		for _, o := range p.Outputs {
			args = append(args, string(o.Path))
		}
	}
	return args
}

// lostEngine sets the failures of the packages if the engine died, or cannot be queried after the build. Failures that
// Nix reported stay.
func lostEngine(ctx context.Context, log *buildlog.Log, todo []*run.PackageResult, err error) error {
	f := buildlog.CommandFailure(ctx, err)
	exit := (*engine.ExitError)(nil)
	switch {
	case errors.Is(err, engine.ErrDiskFull), errors.Is(err, engine.ErrEngineLost): // the engine has said so itself
	case !errors.As(err, &exit):
		f.Kind = run.EngineLost
	case log.NixError() != nil:
		f = log.NixError()
	}
	var known []run.PackageResult
	for _, p := range todo {
		p.Failure = log.Failure(p.Derivation)
		if p.Failure == nil || p.Failure.Kind == run.UnknownFailure || p.Failure.Kind == run.Unfinished {
			p.Failure = f
			continue
		}
		known = append(known, *p)
	}
	err = withHints(err, known)
	if advice := f.Hint(); advice != "" && len(hint.Of(err)) == 0 { // the engine's own hint knows more
		return hint.Wrap(err, "%s", advice)
	}
	return err
}

// withHints adds to an error what is known to help against its failures.
func withHints(err error, failed []run.PackageResult) error {
	for _, p := range failed {
		if advice := p.Failure.Hint(); advice != "" {
			err = hint.Wrap(err, "%s", advice)
		}
	}
	return err
}

// tally puts counts of verdicts into words.
func tally(counts map[run.Verdict]int) string {
	var parts []string
	for _, v := range []run.Verdict{run.Built, run.Substituted, run.Present} {
		if n := counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	return strings.Join(parts, ", ")
}
