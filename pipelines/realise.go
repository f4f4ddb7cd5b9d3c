package pipelines

import (
	"bytes"
	"context"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// realise runs nix-store --realise. It is the same in all versions of Nix, and takes store derivations: nothing is
// evaluated again.
func (r *Release) realise(ctx context.Context, x engine.Executor, todo []*run.PackageResult, p probed, log *buildlog.Log, extra nix.Settings) error {
	args := append([]string{"--realise", "--keep-going", "--log-format", "internal-json"}, derivations(todo)...)
	return log.Run(ctx, x, engine.Command{
		Program: "nix-store", Args: args, Settings: r.Settings.With(p.settings()).With(extra), Privileged: p.privileged(),
	})
}

// realiseAll realises the packages. If Nix stops at a derivation in spite of --keep-going, another command builds the
// packages that do not need that derivation. It returns the last error.
func (r *Release) realiseAll(ctx context.Context, x engine.Executor, todo []*run.PackageResult, p probed, log *buildlog.Log) (failed error) {
	retried := false
	for groups := [][]*run.PackageResult{todo}; len(groups) > 0; {
		group := groups[0]
		groups = groups[1:]
		err := r.realise(ctx, x, group, p, log, nil)
		if err != nil && ctx.Err() == nil && !retried && log.RetrySubstitution() {
			// The build is not at fault. The failure of a builder is never retried.
			retried = true
			r.Event(run.Notice{System: log.System, Level: run.Warning, Text: "a substituter failed: trying once more"})
			err = r.realise(ctx, x, group, p, log, nil)
		}
		if err == nil {
			continue
		}
		if ctx.Err() == nil && log.RetryLostBuilds() {
			if rest, restErr := r.leftOver(ctx, x, log, group); restErr == nil && len(rest) > 0 {
				if groups = append(groups, rest); len(log.RootFailures()) > 0 {
					failed = err
				}
				continue
			}
		}
		failed = err
		rest, restErr := r.leftOver(ctx, x, log, group)
		if restErr != nil || len(rest) == 0 || ctx.Err() != nil || log.NixError().IsOfMachine() {
			continue
		}
		switch {
		case len(rest) < len(group):
			r.Warn(log.System, "Nix stopped: building without what it refuses: %s", log.NixError().Message)
			groups = append(groups, rest)
		case len(group) > 1: // it is unknown at which one Nix stopped
			r.Warn(log.System, "Nix stopped: building each package on its own: %s", log.NixError().Message)
			for _, p := range rest {
				groups = append(groups, []*run.PackageResult{p})
			}
		default:
			group[0].Failure = log.UnfinishedFailure() // it is the only package of the command
		}
	}
	return failed
}

// leftOver returns the packages that lack outputs although none of their dependencies failed.
func (r *Release) leftOver(ctx context.Context, x engine.Executor, log *buildlog.Log, group []*run.PackageResult) ([]*run.PackageResult, error) {
	var candidates []*run.PackageResult
	for _, p := range group {
		if log.Failure(p.Derivation) == nil && !log.Built(p.Derivation) {
			candidates = append(candidates, p)
		}
	}
	if len(candidates) == 0 {
		return nil, nil
	}
	invalid, err := r.invalid(ctx, x, candidates)
	if err != nil {
		return nil, err
	}
	fresh, _ := byValidity(candidates, invalid)
	var rest []*run.PackageResult
	for _, p := range fresh {
		failed, err := r.failedDependencies(ctx, x, log, p)
		if err != nil {
			return nil, err
		}
		if len(failed) == 0 {
			rest = append(rest, p)
		}
	}
	return rest, nil
}

// derivationsAtOnce bounds the length of a command line.
const derivationsAtOnce = 500

// derivations reads store derivations with Nix. Without the result, the kinds of failures are less exact.
func (r *Release) derivations(ctx context.Context, x engine.Executor, e engine.Engine, drvs []nix.StorePath) map[nix.StorePath]nix.Derivation {
	known := map[nix.StorePath]nix.Derivation{}
	for some := range slices.Chunk(drvs, derivationsAtOnce) {
		var out bytes.Buffer
		_, err := x.Run(ctx, engine.Command{Program: "nix", Args: append(nix.DerivationArgs(e.Nix), words(some)...), Settings: r.Settings, Stdout: &out})
		var parsed map[nix.StorePath]nix.Derivation
		if err == nil {
			parsed, err = nix.ParseDerivations(out.Bytes())
		}
		if err != nil {
			if ctx.Err() == nil {
				r.Warn("", "read derivations: %v", err)
			}
			return known
		}
		for drv, d := range parsed {
			known[drv] = d
		}
	}
	return known
}
