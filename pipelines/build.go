package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// BuildError says which packages of a cell were not built, and why.
type BuildError struct {
	System matrix.System
	// Failed are the packages that have no outputs.
	Failed []PackageResult
	// Mismatches are the fetches whose hash was wrong; each keeps a package from being built.
	Mismatches []contract.Mismatch
}

func (e *BuildError) Error() string {
	reasons := make([]string, len(e.Failed))
	for i, p := range e.Failed {
		reasons[i] = fmt.Sprintf("%s: %s", p.Package, p.Failure.Message)
		if p.Failure.Kind != BuilderFailed && p.Failure.Kind != UnknownFailure {
			reasons[i] = fmt.Sprintf("%s: %s: %s", p.Package, p.Failure.Kind, p.Failure.Message)
		}
	}
	return "build " + strings.Join(reasons, "; ")
}

// build realises all packages of the cell that no cache serves, with one command:
// Nix builds what they share once, and the siblings of a failed package to their end.
// It returns the runtime closure of those that are good, and of whatever else was built before something failed,
// and what Nix had to do.
func (r *Release) build(ctx context.Context, x Executor, e Engine, s Snapshot, cell matrix.Cell, todo []*PackageResult, plan Plan, p probed) (closure []nix.PathInfo, work *Work, err error) {
	err = r.step(ctx, StepBuild, cell.System, func() (string, error) {
		if len(todo) == 0 {
			return "", skipped("a cache serves every output")
		}
		log := newBuildLog(r, cell.System)
		log.blame(s, todo)
		work = new(Work)
		if plan.nothing() {
			// A look is all there is to do, unless a collector has come since the plan was made.
			if infos, err := r.pathInfo(ctx, x, e, todo); err == nil && len(absent(infos, todo)) == 0 {
				closure = infos
				return settle(ctx, cell, todo, log, infos, nil, nil)
			}
		}
		err := r.realise(ctx, x, todo, p, log, nil)
		work.add(log.work())
		if err != nil && ctx.Err() == nil && log.onlySubstitutersFailed() {
			// A cache that did not answer says nothing of the build. Once more; a builder's failure never is.
			r.event(Notice{System: cell.System, Level: Warning, Text: "a substituter failed: trying once more"})
			log = newBuildLog(r, cell.System)
			log.blame(s, todo)
			err = r.realise(ctx, x, todo, p, log, nil)
			work.add(log.work())
		}
		if err := ctx.Err(); err != nil {
			for _, p := range todo {
				p.Failure = failureOf(ctx, err)
			}
			return "", err
		}
		infos, invalid, lookErr := r.inspect(ctx, x, e, todo, err)
		if lookErr != nil {
			return "", lostEngine(ctx, todo, errors.Join(err, lookErr))
		}
		closure = infos
		if err != nil {
			closure = r.salvage(ctx, x, e, cell, log.succeeded(todo), infos)
		}
		return settle(ctx, cell, todo, log, infos, invalid, err)
	})
	return closure, work, err
}

// realise runs nix-store --realise, which is the same in all versions of Nix and takes store derivations as they are;
// so nothing is evaluated a second time.
func (r *Release) realise(ctx context.Context, x Executor, todo []*PackageResult, p probed, log *buildLog, extra nix.Settings) error {
	stop := log.watch(ctx, r.Stall)
	defer stop()
	lines := &nix.LogWriter{Entry: log.entry}
	args := append([]string{"--realise", "--keep-going", "--log-format", "internal-json"}, derivations(todo)...)
	_, err := x.Run(ctx, Command{
		Program: "nix-store", Args: args, Settings: r.Settings.With(p.settings()).With(extra), Privileged: p.privileged(), Stderr: lines,
	})
	lines.Flush()
	log.close(err)
	return err
}

// settle says what came of each package, by what the store has rather than by what the log tells.
func settle(ctx context.Context, cell matrix.Cell, todo []*PackageResult, log *buildLog, closure []nix.PathInfo, invalid map[nix.StorePath]bool, buildErr error) (string, error) {
	var failed []PackageResult
	counts := map[Verdict]int{}
	for _, p := range todo {
		log.settle(p, invalid)
		if p.Verdict == Failed && p.Failure == nil {
			p.Failure = &Failure{Kind: UnknownFailure, Message: "Nix said it was done, and an output is not there"}
			if buildErr != nil {
				p.Failure = failureOf(ctx, buildErr)
			}
		}
		if p.Verdict == Failed {
			failed = append(failed, *p)
		}
		counts[p.Verdict]++
	}
	measure(closure, todo)
	if len(failed) > 0 {
		return "", withMends(&BuildError{System: cell.System, Failed: failed, Mismatches: log.mismatches()}, failed)
	}
	return tally(counts), nil
}

// inspect asks the store for the runtime closure of the packages that it has whole, and for the outputs that it has not.
func (r *Release) inspect(ctx context.Context, x Executor, e Engine, todo []*PackageResult, buildErr error) (closure []nix.PathInfo, invalid map[nix.StorePath]bool, err error) {
	if buildErr == nil {
		// One question is enough where all went well, and each costs the start of a process. Nix fails where a path is invalid.
		if closure, err = r.pathInfo(ctx, x, e, todo); err == nil {
			return closure, absent(closure, todo), nil
		}
	}
	if invalid, err = r.invalid(ctx, x, todo); err != nil {
		return nil, nil, err
	}
	var good []*PackageResult
	for _, p := range todo {
		if !slices.ContainsFunc(p.Outputs, func(o Output) bool { return invalid[o.Path] }) {
			good = append(good, p)
		}
	}
	closure, err = r.pathInfo(ctx, x, e, good)
	return closure, invalid, err
}

// absent returns those outputs that infos say nothing of.
func absent(infos []nix.PathInfo, todo []*PackageResult) map[nix.StorePath]bool {
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
func (r *Release) invalid(ctx context.Context, x Executor, todo []*PackageResult) (map[nix.StorePath]bool, error) {
	args := append([]string{"--check-validity", "--print-invalid"}, pathArgs(todo)...)
	out, err := x.Run(ctx, Command{Program: "nix-store", Args: args, Settings: r.Settings})
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
func measure(infos []nix.PathInfo, todo []*PackageResult) {
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
func (r *Release) pathInfo(ctx context.Context, x Executor, e Engine, packages []*PackageResult) ([]nix.PathInfo, error) {
	if len(packages) == 0 {
		return nil, nil
	}
	args := append(nix.PathInfoArgs(e.Nix), "--recursive")
	args = append(args, pathArgs(packages)...)
	out, err := x.Run(ctx, Command{Program: "nix", Args: args, Settings: r.Settings})
	if err != nil {
		return nil, fmt.Errorf("measure closure: %w", err)
	}
	return nix.ParsePathInfo(out)
}

func pathArgs(packages []*PackageResult) []string {
	var args []string
	for _, p := range packages {
		for _, o := range p.Outputs {
			args = append(args, string(o.Path))
		}
	}
	return args
}

// lostEngine is for an engine that died while it built.
func lostEngine(ctx context.Context, todo []*PackageResult, err error) error {
	f := failureOf(ctx, err)
	if exit := (*ExitError)(nil); !errors.As(err, &exit) {
		f.Kind = EngineLost
	}
	for _, p := range todo {
		p.Failure = f
	}
	return hint.Wrap(err, "%s", f.Kind.mend())
}

// withMends adds to an error what is known to mend its failures.
func withMends(err error, failed []PackageResult) error {
	for _, p := range failed {
		if mend := p.Failure.Kind.mend(); mend != "" {
			err = hint.Wrap(err, "%s", mend)
		}
	}
	return err
}

// tally puts counts of verdicts into words.
func tally(counts map[Verdict]int) string {
	var parts []string
	for _, v := range []Verdict{Built, Substituted, Present} {
		if n := counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	return strings.Join(parts, ", ")
}
