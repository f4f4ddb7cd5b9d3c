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

// Draft builds the packages for the first system, and writes a first contract from what the flake has.
type Draft struct{ Job }

// Run returns the contract.
func (d *Draft) Run(ctx context.Context) (draft *contract.Contract, err error) {
	d.Cells = d.Cells[:min(1, len(d.Cells))] // a run that is refused has none
	d.EverySystem = false
	snapshot, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	started := d.Now()
	defer func() {
		if err != nil {
			d.Event(run.RunFinished{Seconds: run.Seconds(d.Now().Sub(started))})
		}
	}()
	c := d.newCells(snapshot)[0]
	if err := c.preflight(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.exec.Close()) }()
	if err := c.evaluate(ctx); err != nil {
		return nil, err
	}
	c.todo = c.packages()
	if err := c.makePlan(ctx); err != nil {
		return nil, err
	}
	if err := c.probe(ctx, false); err != nil {
		return nil, err
	}
	if err := c.build(ctx); err != nil {
		return nil, err
	}
	err = d.Step(ctx, run.StepContract, c.System, func() (string, error) {
		inventory, err := c.inventory(ctx)
		if err != nil {
			return "", err
		}
		draft = contract.Draft(inventory)
		return fmt.Sprintf("drafted for %s", run.Count(len(draft.Packages), "package")), nil
	})
	return draft, err
}

// inventory returns what the flake and its built packages have.
func (c *cell) inventory(ctx context.Context) (contract.Inventory, error) {
	in := contract.Inventory{
		Tree: flakeDir(c.snapshot), Derivations: map[matrix.Package]nix.StorePath{},
		Build: contract.Build{System: c.System, Outputs: outOutputs(c.result.Packages)},
	}
	var paths []nix.StorePath
	for _, p := range c.result.Packages {
		in.Derivations[p.Package] = p.Derivation
		paths = append(paths, in.Build.Outputs[p.Package])
	}
	ref, settings, err := c.copyFlakeToStore(ctx)
	if err != nil {
		return in, err
	}
	expression := contract.NamesExpression(contract.Request{System: c.System, Flake: ref})
	out, err := c.exec.Run(ctx, engine.Command{
		Program: "nix", Args: []string{"eval", "--json", "--impure", "--expr", expression}, Settings: c.Settings.With(settings),
	})
	if err != nil {
		return in, fmt.Errorf("evaluate outputs: %w", err)
	}
	if err := json.Unmarshal(out, &in.Names); err != nil {
		return in, fmt.Errorf("parse outputs: %v", err)
	}
	in.Build.Files, err = c.readFiles(ctx, paths)
	return in, err
}
