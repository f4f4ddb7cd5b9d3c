package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Draft finds the systems of a flake, and makes a first contract. For that it builds the packages for the first system
// that the flake has.
type Draft struct {
	Job
	WithoutContract bool // nothing is built
}

// Drafted is the result of a [Draft].
type Drafted struct {
	Systems  []matrix.System
	Contract *contract.Contract // nil without one
	From     matrix.System      // whose packages the contract was made from
}

// Run evaluates the flake, builds its packages if the contract needs them, and returns what it has.
func (d *Draft) Run(ctx context.Context) (drafted Drafted, err error) {
	snapshot, err := d.begin(ctx)
	if err != nil {
		return drafted, err
	}
	started := d.Now()
	defer func() {
		if err != nil {
			d.Event(run.RunFinished{Seconds: run.Seconds(d.Now().Sub(started))})
		}
	}()
	for _, c := range d.newCells(snapshot) {
		if drafted, err = d.cell(ctx, c); err != nil || !c.absent {
			return drafted, err
		}
	}
	return drafted, hint.Wrap(errors.New("draft contract: the flake has no packages for the default systems"), "--system names another one: %v", matrix.Systems())
}

// cell drafts for one system, unless the flake has no packages for it.
func (d *Draft) cell(ctx context.Context, c *cell) (drafted Drafted, err error) {
	if err := c.preflight(ctx); err != nil {
		return drafted, err
	}
	defer func() { err = errors.Join(err, c.exec.Close()) }()
	if err := c.evaluate(ctx); err != nil || c.absent {
		return drafted, err
	}
	if !d.WithoutContract {
		if err := c.buildAll(ctx); err != nil {
			return drafted, err
		}
	}
	err = d.Step(ctx, run.StepContract, c.System, func() (string, error) {
		names, err := c.names(ctx)
		if err != nil {
			return "", err
		}
		for _, of := range d.Cells {
			if len(names.Packages[of.System]) > 0 {
				drafted.Systems = append(drafted.Systems, of.System)
			}
		}
		if d.WithoutContract {
			return "", run.Skipped("no contract is asked for")
		}
		inventory, err := c.inventory(ctx)
		if err != nil {
			return "", err
		}
		inventory.Names, inventory.Systems = names, drafted.Systems
		drafted.From, drafted.Contract = c.System, contract.Draft(inventory)
		return fmt.Sprintf("drafted for %s", run.Count(len(drafted.Contract.Packages), "package")), nil
	})
	return drafted, err
}

// buildAll builds all packages of the cell, whatever a cache has.
func (c *cell) buildAll(ctx context.Context) error {
	c.todo = c.packages()
	if err := c.makePlan(ctx); err != nil {
		return err
	}
	if err := c.probe(ctx, false); err != nil {
		return err
	}
	return c.build(ctx)
}

// names returns the names of the flake's outputs.
func (c *cell) names(ctx context.Context) (names contract.Names, err error) {
	ref, settings, err := c.copyFlakeToStore(ctx)
	if err != nil {
		return names, err
	}
	expression := contract.NamesExpression(contract.Request{System: c.System, Flake: ref})
	out, err := c.exec.Run(ctx, engine.Command{
		Program: "nix", Args: []string{"eval", "--json", "--impure", "--expr", expression}, Settings: c.Settings.With(settings),
	})
	if err != nil {
		return names, fmt.Errorf("evaluate outputs: %w", err)
	}
	if err := json.Unmarshal(out, &names); err != nil {
		return names, fmt.Errorf("parse outputs: %v", err)
	}
	return names, nil
}

// inventory returns what was built.
func (c *cell) inventory(ctx context.Context) (in contract.Inventory, err error) {
	in = contract.Inventory{
		Tree: flakeDir(c.snapshot), Derivations: map[matrix.Package]nix.StorePath{},
		Build: contract.Build{System: c.System, Outputs: outOutputs(c.result.Packages)},
	}
	var paths []nix.StorePath
	for _, p := range c.result.Packages {
		in.Derivations[p.Package] = p.Derivation
		if out := in.Build.Outputs[p.Package]; out != "" {
			paths = append(paths, out)
		}
	}
	in.Build.Files, err = c.readFiles(ctx, paths)
	return in, err
}
