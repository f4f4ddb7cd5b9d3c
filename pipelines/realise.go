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

// realise runs nix-store --realise, which is the same in all versions of Nix. It takes store derivations, so that nothing
// is evaluated again.
func (c *cell) realise(ctx context.Context, drvs []nix.StorePath, log *buildlog.Log) error {
	return log.Run(ctx, c.exec, engine.Command{
		Program: "nix-store", Args: append([]string{"--realise", "--keep-going", "--log-format", "internal-json"}, words(drvs)...),
		Settings: c.Settings.With(c.probed.settings()), Privileged: c.probed.privileged(),
	})
}

// realiseAll realises the packages to do. If Nix stops at a derivation in spite of --keep-going, another command builds the
// packages that do not need that derivation. It returns the last error.
func (c *cell) realiseAll(ctx context.Context, log *buildlog.Log) (failed error) {
	retried := false
	for groups := [][]*run.PackageResult{c.todo}; len(groups) > 0; {
		group := groups[0]
		groups = groups[1:]
		err := c.realise(ctx, derivationsOf(group), log)
		if err != nil && ctx.Err() == nil && !retried && log.RetrySubstitution() {
			// The build is not at fault. The failure of a builder is never retried.
			retried = true
			c.Warn(c.System, "a substituter failed: trying once more")
			err = c.realise(ctx, derivationsOf(group), log)
		}
		if err == nil {
			continue
		}
		retryLost := ctx.Err() == nil && log.RetryLostBuilds()
		rest, restErr := c.leftOver(ctx, log, group)
		if restErr != nil {
			rest = nil
		}
		if retryLost && len(rest) > 0 {
			if groups = append(groups, rest); len(log.RootFailures()) > 0 {
				failed = err
			}
			continue
		}
		failed = err
		if len(rest) > 0 && ctx.Err() == nil && !log.NixError().IsOfMachine() {
			groups = append(groups, c.split(log, group, rest)...)
		}
	}
	return failed
}

// split returns the groups of packages to build with further commands, after Nix stopped without building the rest.
func (c *cell) split(log *buildlog.Log, group, rest []*run.PackageResult) (groups [][]*run.PackageResult) {
	switch {
	case len(rest) < len(group):
		c.Warn(c.System, "Nix stopped: building without what it refuses: %s", log.NixError().Message)
		return [][]*run.PackageResult{rest}
	case len(group) > 1: // it is unknown at which one Nix stopped
		c.Warn(c.System, "Nix stopped: building each package on its own: %s", log.NixError().Message)
		for _, p := range rest {
			groups = append(groups, []*run.PackageResult{p})
		}
		return groups
	}
	group[0].Failure = log.UnfinishedFailure() // it is the only package of the command
	return nil
}

// leftOver returns the packages that lack outputs although none of their dependencies failed.
func (c *cell) leftOver(ctx context.Context, log *buildlog.Log, group []*run.PackageResult) ([]*run.PackageResult, error) {
	var candidates []*run.PackageResult
	for _, p := range group {
		if log.Failure(p.Derivation) == nil && !log.Built(p.Derivation) {
			candidates = append(candidates, p)
		}
	}
	if len(candidates) == 0 {
		return nil, nil
	}
	invalid, err := c.invalid(ctx, outputsOf(candidates))
	if err != nil {
		return nil, err
	}
	incomplete, _ := byValidity(candidates, invalid)
	var rest []*run.PackageResult
	for _, p := range incomplete {
		failed, err := c.failedDependencies(ctx, log, p)
		if err != nil {
			return nil, err
		}
		if len(failed) == 0 {
			rest = append(rest, p)
		}
	}
	return rest, nil
}

// byValidity separates packages that lack an output from those that have all.
func byValidity(packages []*run.PackageResult, invalid map[nix.StorePath]bool) (incomplete, complete []*run.PackageResult) {
	for _, p := range packages {
		if slices.ContainsFunc(p.Outputs, func(o run.Output) bool { return invalid[o.Path] }) {
			incomplete = append(incomplete, p)
		} else {
			complete = append(complete, p)
		}
	}
	return incomplete, complete
}

// derivationsAtOnce limits the length of a command line.
const derivationsAtOnce = 500

// derivations reads store derivations with Nix. Without the result, the kinds of failures are less exact.
func (c *cell) derivations(ctx context.Context, drvs []nix.StorePath) map[nix.StorePath]nix.Derivation {
	known := map[nix.StorePath]nix.Derivation{}
	for some := range slices.Chunk(drvs, derivationsAtOnce) {
		var out bytes.Buffer
		_, err := c.exec.Run(ctx, engine.Command{
			Program: "nix", Args: append(nix.DerivationArgs(c.engine.Nix), words(some)...), Settings: c.Settings, Stdout: &out,
		})
		var parsed map[nix.StorePath]nix.Derivation
		if err == nil {
			parsed, err = nix.ParseDerivations(out.Bytes())
		}
		if err != nil {
			if ctx.Err() == nil {
				c.Warn("", "read derivations: %v", err)
			}
			return known
		}
		for drv, d := range parsed {
			known[drv] = d
		}
	}
	return known
}
