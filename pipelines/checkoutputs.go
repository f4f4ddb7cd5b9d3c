package pipelines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// checkOutputs checks what was built, and what the flake evaluates to, against the contract. It evaluates once, reads the
// files of the outputs with one export, and builds only the environment of an installation.
func (r *Release) checkOutputs(ctx context.Context, c *cell) error {
	return r.Step(ctx, run.StepContract, c.System, func() (string, error) {
		switch {
		case r.Contract.Contract == nil:
			return "", run.Skipped(r.Contract.Without)
		case len(r.Overrides) > 0:
			return "", run.Skipped("the contract does not apply to overridden inputs")
		case c.snapshot.Subdir != "":
			// Its reference needs a registry, which no hash locks, so that it could be evaluated only in impure mode. Then a
			// stranger's flake could read this machine's files and variables. "?dir=" would be
			// enough for a newer Nix than 2.8.
			return "", run.Skipped("the flake is in a subdirectory, and could only be evaluated with access to this machine")
		}
		results, err := r.runChecks(ctx, c)
		if err != nil {
			return "", err
		}
		c.result.Contract = results
		return r.reportChecks(c.System, results)
	})
}

// runChecks runs all checks of a system. Its error is about the engine; errors of the flake are results.
func (r *Release) runChecks(ctx context.Context, c *cell) ([]contract.Result, error) {
	terms, unbuilt := buildable(r.Contract.Contract, c.result.Packages)
	var evaluated, built []contract.Result
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		evaluated, err = r.checkEvaluated(ctx, c)
		return err
	})
	g.Go(func() (err error) {
		built, err = c.checkBuilt(ctx, terms)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return terms.Finish(slices.Concat(evaluated, built, unbuilt), c.System, terms.Planned()), nil
}

// buildable returns the contract without the files of packages that do not evaluate, and a skipped result for each of
// these packages. The evaluation of such a package is a failure of the run and of other checks.
func buildable(c *contract.Contract, packages []run.PackageResult) (*contract.Contract, []contract.Result) {
	var skipped []contract.Result
	without := *c
	without.Packages = maps.Clone(c.Packages)
	for _, p := range packages {
		if _, required := c.Packages[p.Package]; required && p.Derivation == "" {
			delete(without.Packages, p.Package)
			skipped = append(skipped, contract.Result{
				Check: "package/" + string(p.Package), Status: contract.Skip, Reason: "it does not evaluate, so that it has no files",
			})
		}
	}
	return &without, skipped
}

// checkEvaluated asks Nix once for everything that the checks need from the flake.
func (r *Release) checkEvaluated(ctx context.Context, c *cell) ([]contract.Result, error) {
	ref, settings, err := c.copyFlakeToStore(ctx)
	if err != nil {
		return nil, err
	}
	homeManager, err := c.copyReference(ctx, r.Contract.HomeManager)
	if err != nil {
		return nil, fmt.Errorf("place Home Manager: %w", err)
	}
	request := contract.Request{System: c.System, Flake: ref, HomeManager: homeManager}
	return r.Contract.Contract.Evaluate(request, func(expression string) ([]byte, string, error) {
		args := []string{"eval", "--json", "--show-trace", "--expr", expression}
		if request.HomeManager != "" {
			args = append(args, "--impure") // no hash locks the user's Home Manager
		}
		trace := &cappedBuffer{limit: maxTrace}
		out, err := c.exec.Run(ctx, engine.Command{Program: "nix", Args: args, Settings: c.Settings.With(settings), Stderr: trace})
		if exit := (*engine.ExitError)(nil); errors.As(err, &exit) && !killed(exit, trace.String()) {
			return nil, cmp.Or(trace.String(), exit.Error()), nil
		}
		return out, "", err
	})
}

// killed reports whether a signal ended an evaluation. Nix catches the usual signals.
func killed(exit *engine.ExitError, stderr string) bool {
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGKILL, syscall.SIGTERM} {
		if exit.Code == 128+int(signal) {
			return true
		}
	}
	return strings.Contains(stderr, "error: interrupted by the user")
}

// checkBuilt checks the files of the outputs.
func (c *cell) checkBuilt(ctx context.Context, terms *contract.Contract) ([]contract.Result, error) {
	b := contract.Build{System: c.System, Outputs: outOutputs(c.result.Packages), Sandboxed: c.probed.sandbox}
	err := c.fetch(ctx, c.packages())
	if err == nil {
		b.Closure, err = c.runtimeClosure(ctx, c.packages())
	}
	if err != nil {
		return nil, err
	}
	read := func(paths []nix.StorePath) (err error) {
		if b.Files, err = c.readFiles(ctx, paths); err != nil {
			return fmt.Errorf("read outputs: %w", err)
		}
		return nil
	}
	paths := terms.Exported(b)
	if expression := terms.Environment(b); expression != "" {
		build := engine.Command{
			Program: "nix-build", Args: []string{"--no-out-link", "-E", expression}, Privileged: c.probed.privileged(),
			Settings: c.Settings.With(c.probed.settings()).With(ownExpression),
		}
		err = c.buildProtected(ctx, build, func(environment nix.StorePath) error {
			b.Environment = environment
			return read(append(slices.Clone(paths), environment))
		})
	} else {
		err = read(paths)
	}
	if err != nil {
		return nil, err
	}
	return terms.Built(b), nil
}

// outOutputs returns the outputs "out", which the contract is about; others have headers or documents.
func outOutputs(packages []run.PackageResult) map[matrix.Package]nix.StorePath {
	outs := map[matrix.Package]nix.StorePath{}
	for _, p := range packages {
		for _, o := range p.Outputs {
			if o.Name == "out" {
				outs[p.Package] = o.Path
			}
		}
	}
	return outs
}

// fetch realises the packages that a cache has and this engine's store lacks.
func (c *cell) fetch(ctx context.Context, packages []*run.PackageResult) error {
	var cached []*run.PackageResult
	for _, p := range packages {
		if p.Verdict == run.Served {
			cached = append(cached, p)
		}
	}
	if len(cached) == 0 {
		return nil
	}
	args := append([]string{"--realise"}, words(derivationsOf(cached))...)
	if _, err := c.exec.Run(ctx, engine.Command{Program: "nix-store", Args: args, Settings: c.Settings, Privileged: true}); err != nil {
		return fmt.Errorf("fetch outputs: %w", err)
	}
	return nil
}

// readFiles reads the files of store objects into memory, as far as the checks need them.
func (c *cell) readFiles(ctx context.Context, paths []nix.StorePath) (files contract.Files, err error) {
	err = c.exportTo(ctx, nix.SortedPaths(paths), func(_ context.Context, stream io.Reader) (err error) {
		files, err = contract.ReadFiles(stream)
		return err
	})
	return files, err
}
