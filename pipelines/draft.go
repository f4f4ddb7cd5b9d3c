package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Draft builds the packages for the first of the systems, and makes a first contract of what the flake has.
func (r *Release) Draft(ctx context.Context) (c *contract.Contract, err error) {
	started, cell := r.Now(), r.Cells[0]
	r.Event(run.RunStarted{ID: r.ID, Flake: r.Flake, Cells: r.Cells[:1]})
	defer func() {
		if err != nil {
			r.Event(run.RunFinished{Seconds: run.Seconds(r.Now().Sub(started))})
		}
	}()
	s, err := r.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	x, engine, err := r.preflight(ctx, cell)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	evaluation, err := r.evaluate(ctx, x, s, cell)
	if err != nil {
		return nil, err
	}
	packages := evaluation.results()
	todo := make([]*run.PackageResult, len(packages))
	for i := range packages {
		todo[i] = &packages[i]
	}
	plan, err := r.plan(ctx, x, cell, todo)
	if err != nil {
		return nil, err
	}
	probed, err := r.smoke(ctx, x, engine, cell, todo, plan)
	if err != nil {
		return nil, err
	}
	if _, _, err := r.build(ctx, x, engine, s, cell, todo, plan, probed); err != nil {
		return nil, err
	}
	err = r.Step(ctx, run.StepContract, cell.System, func() (string, error) {
		inventory, err := r.inventory(ctx, x, s, cell, packages)
		if err != nil {
			return "", err
		}
		c = contract.Draft(inventory)
		return fmt.Sprintf("drafted for %s", run.Count(len(c.Packages), "package")), nil
	})
	return c, err
}

// inventory finds out what the flake and its built packages have.
func (r *Release) inventory(ctx context.Context, x engine.Executor, s run.Snapshot, cell matrix.Cell, packages []run.PackageResult) (contract.Inventory, error) {
	in := contract.Inventory{
		Tree: flakeDir(s), Derivations: map[matrix.Package]nix.StorePath{},
		Build: contract.Build{System: cell.System, Outputs: outOutputs(packages)},
	}
	var paths []nix.StorePath
	for _, p := range packages {
		in.Derivations[p.Package] = p.Derivation
		paths = append(paths, in.Build.Outputs[p.Package])
	}
	ref, settings, err := placeFlake(ctx, x, s)
	if err != nil {
		return in, fmt.Errorf("place snapshot: %w", err)
	}
	expression := contract.NamesExpression(contract.Request{System: cell.System, Flake: ref})
	out, err := x.Run(ctx, engine.Command{
		Program: "nix", Args: []string{"eval", "--json", "--impure", "--expr", expression}, Settings: r.Settings.With(settings),
	})
	if err != nil {
		return in, fmt.Errorf("evaluate outputs: %w", err)
	}
	if err := json.Unmarshal(out, &in.Names); err != nil {
		return in, fmt.Errorf("parse outputs: %v", err)
	}
	in.Build.Files, err = readFiles(ctx, x, paths)
	return in, err
}
