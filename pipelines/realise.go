package pipelines

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// realise runs nix-store --realise, which is the same in all versions of Nix and takes store derivations as they are;
// so nothing is evaluated a second time.
func (r *Release) realise(ctx context.Context, x engine.Executor, todo []*run.PackageResult, p probed, log *buildLog, extra nix.Settings) error {
	args := append([]string{"--realise", "--keep-going", "--log-format", "internal-json"}, derivations(todo)...)
	return r.logged(ctx, x, log, engine.Command{
		Program: "nix-store", Args: args, Settings: r.Settings.With(p.settings()).With(extra), Privileged: p.privileged(),
	})
}

// logged runs a command of Nix that writes its log in the internal-json format.
func (r *Release) logged(ctx context.Context, x engine.Executor, log *buildLog, c engine.Command) error {
	log.newAttempt()
	stop := log.watch(ctx, r.Stall)
	defer stop()
	defer log.measureWith(ctx, x)()
	lines := &nix.LogWriter{Entry: log.entry}
	c.Stderr = lines
	_, err := x.Run(ctx, c)
	lines.Flush()
	log.close(ctx, err)
	return err
}

// realiseAll realises the packages. Where Nix stops at a derivation in spite of --keep-going, it builds the packages
// that do not need that one by another command, so that each is built that can be. It returns the last error.
func (r *Release) realiseAll(ctx context.Context, x engine.Executor, todo []*run.PackageResult, p probed, log *buildLog) (failed error) {
	retried := false
	for groups := [][]*run.PackageResult{todo}; len(groups) > 0; {
		group := groups[0]
		groups = groups[1:]
		err := r.realise(ctx, x, group, p, log, nil)
		if err != nil && ctx.Err() == nil && !retried && log.onlySubstitutersFailed() {
			// A cache that did not answer says nothing of the build. Once more; a builder's failure never is.
			retried = true
			r.Event(run.Notice{System: log.system, Level: run.Warning, Text: "a substituter failed: trying once more"})
			log.forgetSubstituters()
			err = r.realise(ctx, x, group, p, log, nil)
		}
		if err == nil {
			continue
		}
		if ctx.Err() == nil && log.retryLost() {
			if rest, restErr := r.leftOver(ctx, x, log, group); restErr == nil && len(rest) > 0 {
				if groups = append(groups, rest); len(log.causes()) > 0 {
					failed = err
				}
				continue
			}
		}
		failed = err
		rest, restErr := r.leftOver(ctx, x, log, group)
		if restErr != nil || len(rest) == 0 || ctx.Err() != nil || log.run.IsOfMachine() {
			continue
		}
		switch {
		case len(rest) < len(group):
			r.Event(run.Notice{System: log.system, Level: run.Warning, Text: fmt.Sprintf("Nix stopped: building without what it refuses: %s", log.run.Message)})
			groups = append(groups, rest)
		case len(group) > 1: // it is not known which one Nix stopped at
			r.Event(run.Notice{System: log.system, Level: run.Warning, Text: fmt.Sprintf("Nix stopped: building each package on its own: %s", log.run.Message)})
			for _, p := range rest {
				groups = append(groups, []*run.PackageResult{p})
			}
		default:
			group[0].Failure = log.stopped() // nothing else was asked for
		}
	}
	return failed
}

// leftOver returns the packages that are not there although nothing that they need has failed.
func (r *Release) leftOver(ctx context.Context, x engine.Executor, log *buildLog, group []*run.PackageResult) ([]*run.PackageResult, error) {
	var candidates []*run.PackageResult
	for _, p := range group {
		if log.failure(p.Derivation) == nil && !log.isGood(p.Derivation) {
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

// onlySubstitutersFailed reports whether nothing but caches was at fault.
func (l *buildLog) onlySubstitutersFailed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := false
	for _, f := range l.failures {
		switch f.Kind {
		case run.SubstituterFailed:
			found = true
		case run.DependencyFailed:
		default:
			return false
		}
	}
	for _, f := range l.errors {
		found = found || f.Kind == run.SubstituterFailed
	}
	return found
}

// forgetSubstituters is for another try after nothing but caches was at fault.
func (l *buildLog) forgetSubstituters() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.failures)
}

// know takes what is known of the derivations that are to be built, and of the packages' outputs.
func (l *buildLog) know(known map[nix.StorePath]nix.Derivation, packages []*run.PackageResult) {
	l.known = known
	for drv, d := range known {
		for _, path := range d.Outputs {
			l.byOutput[path] = drv
		}
	}
	for _, p := range packages {
		for _, o := range p.Outputs {
			l.byOutput[o.Path] = p.Derivation
		}
	}
}

// derivationsAtOnce keeps a command line short.
const derivationsAtOnce = 500

// derivations asks Nix what store derivations say of themselves. Without the answer, failures are told apart less well.
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
				r.Event(run.Notice{Level: run.Warning, Text: fmt.Sprintf("read derivations: %v", err)})
			}
			return known
		}
		for drv, d := range parsed {
			known[drv] = d
		}
	}
	return known
}
