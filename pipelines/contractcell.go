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

// contract holds what was built, and what the flake evaluates to beside its packages, to the flake's contract.
// It evaluates once, reads the outputs' files by one export, and builds nothing but the environment
// that an installation would be.
func (r *Release) contract(ctx context.Context, x engine.Executor, e engine.Engine, s run.Snapshot, cell matrix.Cell, result *run.CellResult, p probed) error {
	return r.Step(ctx, run.StepContract, cell.System, func() (string, error) {
		switch {
		case r.Contract.Contract == nil:
			return "", run.Skipped(r.Contract.Without)
		case len(r.Overrides) > 0:
			return "", run.Skipped("an overridden input is not what the flake has promised anything about")
		case s.Subdir != "":
			// Its reference goes by a registry, which no hash locks, so that it could be evaluated in impure mode alone:
			// then a stranger's flake could read this machine's files and variables. It can go when Nix 2.8, which takes no "?dir=", is served no more.
			return "", run.Skipped("the flake is in a subdirectory, and could only be evaluated with access to this machine")
		}
		results, err := r.check(ctx, x, e, s, cell, result.Packages, p)
		if err != nil {
			return "", err
		}
		result.Contract = results
		return r.judge(cell.System, results)
	})
}

// check runs all checks of a system. Its error is an engine's; a flake's own fault is a result.
func (r *Release) check(ctx context.Context, x engine.Executor, e engine.Engine, s run.Snapshot, cell matrix.Cell, packages []run.PackageResult, p probed) ([]contract.Result, error) {
	c, unbuilt := buildable(r.Contract.Contract, packages)
	var evaluated, built []contract.Result
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		evaluated, err = r.checkEvaluated(ctx, x, s, cell)
		return err
	})
	g.Go(func() (err error) {
		built, err = r.checkBuilt(ctx, x, e, c, cell, packages, p)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return c.Finish(slices.Concat(evaluated, built, unbuilt), cell.System, c.Planned()), nil
}

// buildable returns the contract without what it says of the files of packages that do not evaluate, and a result for
// each of these. That they do not evaluate is a failure of the run, and of the checks of the evaluation.
func buildable(c *contract.Contract, packages []run.PackageResult) (*contract.Contract, []contract.Result) {
	var skipped []contract.Result
	without := *c
	without.Packages = maps.Clone(c.Packages)
	for _, p := range packages {
		if _, promised := c.Packages[p.Package]; promised && p.Derivation == "" {
			delete(without.Packages, p.Package)
			skipped = append(skipped, contract.Result{
				Check: "package/" + string(p.Package), Status: contract.Skip, Reason: "it does not evaluate, so that it has no files",
			})
		}
	}
	return &without, skipped
}

// checkEvaluated asks Nix once for all that the checks want to know of the flake.
func (r *Release) checkEvaluated(ctx context.Context, x engine.Executor, s run.Snapshot, cell matrix.Cell) ([]contract.Result, error) {
	c := r.Contract.Contract
	ref, settings, err := placeFlake(ctx, x, s)
	if err != nil {
		return nil, fmt.Errorf("place snapshot: %w", err)
	}
	homeManager, err := placeReference(ctx, x, r.Contract.HomeManager)
	if err != nil {
		return nil, fmt.Errorf("place Home Manager: %w", err)
	}
	request := contract.Request{System: cell.System, Flake: ref, HomeManager: homeManager}
	return c.Evaluate(request, func(expression string) ([]byte, string, error) {
		args := []string{"eval", "--json", "--show-trace", "--expr", expression}
		if request.HomeManager != "" {
			args = append(args, "--impure") // no hash locks what the user has named
		}
		trace := &cappedBuffer{limit: maxTrace}
		out, err := x.Run(ctx, engine.Command{Program: "nix", Args: args, Settings: r.Settings.With(settings), Stderr: trace})
		if exit := (*engine.ExitError)(nil); errors.As(err, &exit) && !killed(exit, trace.String()) {
			return nil, cmp.Or(trace.String(), exit.Error()), nil
		}
		return out, "", err
	})
}

// killed tells an evaluation that was ended from outside, by a signal, from one that failed. Nix catches the usual signals.
func killed(exit *engine.ExitError, said string) bool {
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGKILL, syscall.SIGTERM} {
		if exit.Code == 128+int(signal) {
			return true
		}
	}
	return strings.Contains(said, "error: interrupted by the user")
}

// checkBuilt reads the outputs' files and looks into them.
func (r *Release) checkBuilt(ctx context.Context, x engine.Executor, e engine.Engine, c *contract.Contract, cell matrix.Cell, packages []run.PackageResult, p probed) ([]contract.Result, error) {
	b := contract.Build{System: cell.System, Outputs: outOutputs(packages), Sandboxed: p.sandbox}
	var all []*run.PackageResult
	for i := range packages {
		all = append(all, &packages[i])
	}
	if err := r.fetch(ctx, x, all); err != nil {
		return nil, err
	}
	var err error
	if b.Closure, err = r.pathInfo(ctx, x, e, all); err != nil {
		return nil, err
	}
	read := func(paths []nix.StorePath) (err error) {
		if b.Files, err = readFiles(ctx, x, paths); err != nil {
			return fmt.Errorf("read outputs: %w", err)
		}
		return nil
	}
	paths := c.Exported(b)
	if expression := c.Environment(b); expression != "" {
		err = r.buildProtected(ctx, x, cell.System, r.environmentCommand(expression, p), func(environment nix.StorePath) error {
			b.Environment = environment
			return read(append(slices.Clone(paths), environment))
		})
	} else {
		err = read(paths)
	}
	if err != nil {
		return nil, err
	}
	return c.Built(b), nil
}

// outOutputs are the outputs that hold what a package promises; others hold headers, documents and the like.
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

// fetch realises the packages that a cache serves and this engine's store has not.
func (r *Release) fetch(ctx context.Context, x engine.Executor, packages []*run.PackageResult) error {
	var served []*run.PackageResult
	for _, p := range packages {
		if p.Verdict == run.Served {
			served = append(served, p)
		}
	}
	if len(served) == 0 {
		return nil
	}
	args := append([]string{"--realise"}, derivations(served)...)
	if _, err := x.Run(ctx, engine.Command{Program: "nix-store", Args: args, Settings: r.Settings, Privileged: true}); err != nil {
		return fmt.Errorf("fetch outputs: %w", err)
	}
	return nil
}

// environmentCommand builds what an installation of a package would link together.
func (r *Release) environmentCommand(expression string, p probed) engine.Command {
	return engine.Command{
		Program: "nix-build", Args: []string{"--no-out-link", "-E", expression}, Privileged: p.privileged(),
		Settings: r.Settings.With(p.settings()).With(ownExpression),
	}
}

// readFiles reads the files of store objects into memory, as far as the checks look at them.
func readFiles(ctx context.Context, x engine.Executor, paths []nix.StorePath) (files contract.Files, err error) {
	pr, pw := io.Pipe()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := x.Export(ctx, pw, nix.SortedPaths(paths))
		pw.CloseWithError(err) // nil ends the stream; the reader sees another error as its own
		return err
	})
	g.Go(func() error {
		var err error
		files, err = contract.ReadFiles(pr)
		pr.CloseWithError(err)
		return err
	})
	return files, g.Wait()
}
