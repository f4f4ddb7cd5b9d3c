package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Replaying is what of a failed run is built again: the packages of a system that failed, from an export of all that
// they are made from.
type Replaying struct {
	System   matrix.System
	Packages []PackageResult // with derivations and outputs
	// Dir is a directory of this machine, and Export the name of the file in it, as nix-store --export writes it.
	Dir, Export string
	// Again asks for a second build of what succeeds: there it came out differently.
	Again bool
}

// Replayed is what came of it.
type Replayed struct {
	System   matrix.System
	Engine   *Engine
	Emulated bool
	Sandbox  *bool
	Memlock  *int64
	Packages []PackageResult
	// Failures are the derivations that failed, which may be dependencies of the packages.
	Failures map[nix.StorePath]*Failure
	// Err is why it came to nothing: that a derivation is not among the failures then says nothing of it.
	Err error
}

// Replay builds what failed elsewhere, each system side by side. Of the run, what evaluates, exports and publishes is not
// used. A build that fails is a result; the errors of all systems that came to none are joined, and the others' results are
// there all the same.
func (r *Release) Replay(ctx context.Context, all []Replaying) ([]Replayed, error) {
	r.mentioned = new(sync.Map)
	r.event(RunStarted{ID: r.ID, Flake: r.Flake, Cells: r.Cells})
	results := make([]Replayed, len(all))
	_, err := r.eachCell(ctx, func(ctx context.Context, cell matrix.Cell) (CellResult, error) {
		i := slices.IndexFunc(all, func(p Replaying) bool { return p.System == cell.System })
		var err error
		results[i], err = r.replay(ctx, cell, all[i])
		results[i].Err = err
		return CellResult{}, err
	})
	return results, err // what came of it, the caller says: there is no manifest
}

// replay is the story of one system.
func (r *Release) replay(ctx context.Context, cell matrix.Cell, what Replaying) (result Replayed, err error) {
	result = Replayed{System: cell.System, Packages: slices.Clone(what.Packages)}
	x, engine, err := r.preflight(ctx, cell)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	result.Engine, result.Emulated = &engine, r.emulated(engine, cell)
	if err := r.importExport(ctx, x, cell, what); err != nil {
		return result, err
	}
	var todo []*PackageResult
	for i := range result.Packages {
		p := &result.Packages[i]
		p.Verdict, p.Failure, p.Difference, p.Log, p.Seconds = Failed, nil, nil, "", 0
		todo = append(todo, p)
	}
	plan, err := r.plan(ctx, x, cell, todo)
	if err != nil {
		return result, err
	}
	probed, err := r.smoke(ctx, x, engine, cell, todo, plan)
	if err != nil {
		return result, err
	}
	var cellResult CellResult
	cellResult.setMachines(probed, nil)
	result.Sandbox, result.Memlock = cellResult.Sandbox, cellResult.Memlock
	known := r.derivations(ctx, x, engine, plan.Build)
	result.Failures, err = r.fail(ctx, x, engine, cell, todo, known, probed, what.Again)
	return result, err
}

// importExport puts derivations and sources into the engine's store. Whoever calls Replay has proven what they are.
func (r *Release) importExport(ctx context.Context, x Executor, cell matrix.Cell, what Replaying) error {
	return r.step(ctx, StepImport, cell.System, func() (string, error) {
		placed, err := x.Place(ctx, what.Dir)
		if err != nil {
			return "", fmt.Errorf("place export: %w", err)
		}
		var paths, derivations, outputs []nix.StorePath
		for _, p := range what.Packages {
			derivations, outputs = append(derivations, p.Derivation), append(outputs, p.outputPaths()...)
		}
		err = r.protect(ctx, x, cell.System, func() (_, _ []nix.StorePath, err error) {
			out, err := x.Run(ctx, Command{
				Program: "sh", Args: []string{"-c", `exec nix-store --import <"$0"`, placed + "/" + what.Export}, Settings: r.Settings,
			})
			if err != nil {
				return nil, nil, fmt.Errorf("import derivations: %w", err)
			}
			paths, err = nix.ParseStorePaths(string(out))
			return derivations, outputs, err
		})
		return count(len(paths), "path"), err
	})
}

// fail builds the packages, and returns what failed on the way. Their inputs may come from caches; they themselves are
// built here, and built again where they are there already.
func (r *Release) fail(ctx context.Context, x Executor, e Engine, cell matrix.Cell, todo []*PackageResult, known map[nix.StorePath]nix.Derivation, p probed, again bool) (failures map[nix.StorePath]*Failure, err error) {
	failures = map[nix.StorePath]*Failure{}
	err = r.step(ctx, StepBuild, cell.System, func() (string, error) {
		log := newBuildLog(r, cell.System)
		log.know(known, todo)
		err := r.fetchInputs(ctx, x, p, todo, log)
		log.into(failures)
		if err != nil {
			return "", buildEnded(ctx, failures, err)
		}
		invalid, err := r.invalid(ctx, x, todo)
		if err != nil {
			return "", err
		}
		b := secondBuild{r: r, x: x, engine: e, cell: cell, probed: p}
		fresh, there := byValidity(todo, invalid)
		if len(fresh) > 0 {
			log := newBuildLog(r, cell.System)
			log.know(known, todo)
			err := r.realise(ctx, x, fresh, p, log, nix.Settings{"substitute": "false"})
			log.decideBy(nil)
			log.into(failures)
			if err != nil {
				return "", buildEnded(ctx, failures, err)
			}
		}
		if again {
			there = todo
		}
		if len(there) == 0 {
			return "it does not fail here", nil
		}
		log = b.newLog()
		err = b.check(ctx, x, otherCores(e), p, there, log)
		log.into(failures)
		if err != nil {
			return "", buildEnded(ctx, failures, err)
		}
		return "it does not fail here", nil
	})
	if err != nil && len(failures) > 0 && ctx.Err() == nil {
		err = nil // the failures are what was asked for
	}
	if err == nil && len(failures) == 0 {
		for _, p := range todo {
			p.Verdict = Built
		}
	}
	return failures, err
}

// into adds the failures of a build to others.
func (l *buildLog) into(failures map[nix.StorePath]*Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for drv, f := range l.failures {
		if f.Kind != DependencyFailed { // which says no more than the dependency's own
			failures[drv] = f
		}
	}
}

// buildEnded is the error of a build: what failed, where that is known.
func buildEnded(ctx context.Context, failures map[nix.StorePath]*Failure, err error) error {
	if ctx.Err() != nil || len(failures) == 0 {
		return err
	}
	var names []string
	for drv, f := range failures {
		names = append(names, fmt.Sprintf("%s: %s", drv.Name(), f.Kind))
	}
	slices.Sort(names)
	return fmt.Errorf("build %s", joined(names))
}

// byValidity tells the packages that have to be built from those whose outputs are all there.
func byValidity(packages []*PackageResult, invalid map[nix.StorePath]bool) (fresh, there []*PackageResult) {
	for _, p := range packages {
		if slices.ContainsFunc(p.Outputs, func(o Output) bool { return invalid[o.Path] }) {
			fresh = append(fresh, p)
		} else {
			there = append(there, p)
		}
	}
	return fresh, there
}
