package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// cell is the state of one system's packages in a run. Each step adds its results.
type cell struct {
	*Job
	matrix.Cell
	snapshot run.Snapshot

	exec   engine.Executor // preflight opens it
	engine engine.Engine

	todo    []*run.PackageResult // packages of result that no cache has
	plan    run.Plan
	probed  probed
	closure []nix.PathInfo // the runtime closure of what was built
	added   []nix.Added    // by the export
	result  run.CellResult
	absent  bool // the flake has no packages for the system
}

// newCells returns the cells of a snapshot, without results: every package is failed until a step says otherwise.
func (j *Job) newCells(s run.Snapshot) []*cell {
	var cells []*cell
	for _, of := range j.Cells {
		c := &cell{Job: j, Cell: of, snapshot: s, result: run.CellResult{System: of.System, Verdict: run.Failed}}
		for _, p := range of.Packages {
			c.result.Packages = append(c.result.Packages, run.PackageResult{Package: p, Verdict: run.Failed})
		}
		cells = append(cells, c)
	}
	return cells
}

func resultsOf(cells []*cell) []run.CellResult {
	var results []run.CellResult
	for _, c := range cells {
		if !c.absent {
			results = append(results, c.result)
		}
	}
	return results
}

// eachCell calls f for all cells in parallel. A failed cell does not end the others, except with FailFast.
func (j *Job) eachCell(ctx context.Context, cells []*cell, f func(context.Context, *cell) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(cells))
	var g errgroup.Group
	for i, c := range cells {
		g.Go(func() error {
			if err := f(ctx, c); err != nil {
				errs[i] = fmt.Errorf("%s: %w", c.System, err)
				if j.FailFast {
					cancel(fmt.Errorf("%s has failed (--fail-fast)", c.System))
				}
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs, in order
	return errors.Join(errs...)
}

// packages returns pointers to all packages of the result.
func (c *cell) packages() []*run.PackageResult {
	all := make([]*run.PackageResult, len(c.result.Packages))
	for i := range c.result.Packages {
		all[i] = &c.result.Packages[i]
	}
	return all
}

// nixStore runs nix-store, and returns what it prints.
func (c *cell) nixStore(ctx context.Context, args ...string) ([]byte, error) {
	return c.exec.Run(ctx, engine.Command{Program: "nix-store", Args: args, Settings: c.Settings})
}

// query runs nix-store with paths, and returns the paths that it prints.
func (c *cell) query(ctx context.Context, paths []nix.StorePath, flags ...string) ([]nix.StorePath, error) {
	out, err := c.nixStore(ctx, append(flags, words(paths)...)...)
	if err != nil {
		return nil, err
	}
	return nix.ParseStorePaths(string(out))
}

// invalid returns the set of paths that the store does not have.
func (c *cell) invalid(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]bool, error) {
	missing, err := c.query(ctx, paths, "--check-validity", "--print-invalid")
	if err != nil {
		return nil, fmt.Errorf("check outputs: %w", err)
	}
	return nix.PathSet(missing), nil
}

// pathInfo returns what Nix knows of paths. With the flag --recursive, it includes all that they refer to.
func (c *cell) pathInfo(ctx context.Context, paths []nix.StorePath, flags ...string) ([]nix.PathInfo, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	args := slices.Concat(nix.PathInfoArgs(c.engine.Nix), flags, words(paths))
	out, err := c.exec.Run(ctx, engine.Command{Program: "nix", Args: args, Settings: c.Settings})
	if err != nil {
		return nil, err
	}
	return nix.ParsePathInfo(out)
}

// runtimeClosure returns the closure of the outputs of packages.
func (c *cell) runtimeClosure(ctx context.Context, packages []*run.PackageResult) ([]nix.PathInfo, error) {
	infos, err := c.pathInfo(ctx, outputsOf(packages), "--recursive")
	if err != nil {
		return nil, fmt.Errorf("measure closure: %w", err)
	}
	return infos, nil
}

// exportTo exports store objects in the format of nix-store --export to read.
func (c *cell) exportTo(ctx context.Context, paths []nix.StorePath, read func(context.Context, io.Reader) error) error {
	pr, pw := io.Pipe()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := c.exec.Export(ctx, pw, paths)
		pw.CloseWithError(err) // nil ends the stream; the reader gets another error as its own
		return err
	})
	g.Go(func() error {
		err := read(ctx, pr)
		pr.CloseWithError(err)
		return err
	})
	return g.Wait()
}

func outputsOf(packages []*run.PackageResult) []nix.StorePath {
	var paths []nix.StorePath
	for _, p := range packages {
		paths = append(paths, p.OutputPaths()...)
	}
	return paths
}

func derivationsOf(packages []*run.PackageResult) []nix.StorePath {
	var drvs []nix.StorePath
	for _, p := range packages {
		drvs = append(drvs, p.Derivation)
	}
	return drvs
}

func words(paths []nix.StorePath) []string {
	list := make([]string, len(paths))
	for i, p := range paths {
		list[i] = string(p)
	}
	return list
}

// union returns the infos of both lists, sorted by path, each path once.
func union(a, b []nix.PathInfo) []nix.PathInfo {
	all := append(slices.Clone(a), b...)
	slices.SortStableFunc(all, func(a, b nix.PathInfo) int { return strings.Compare(string(a.Path), string(b.Path)) })
	return slices.CompactFunc(all, func(a, b nix.PathInfo) bool { return a.Path == b.Path })
}

// setSizes sets hashes and sizes of the outputs that are in infos, and of their closures.
func setSizes(infos []nix.PathInfo, packages []*run.PackageResult) {
	byPath := make(map[nix.StorePath]*nix.PathInfo, len(infos))
	for i := range infos {
		byPath[infos[i].Path] = &infos[i]
	}
	for _, p := range packages {
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
