package pipelines

import (
	"context"
	"errors"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Preview plans a run, and changes nothing.
type Preview struct {
	Job
	Served  []ServingCache
	Store   Store // nil if there is none yet
	Publish publish.Publisher
}

// Run returns a manifest of what a run would do.
func (p *Preview) Run(ctx context.Context) (*run.Manifest, error) {
	started := p.beginning()
	snapshot, err := p.begin(ctx)
	if err != nil {
		return nil, err
	}
	cells := p.newCells(snapshot)
	err = p.eachCell(ctx, cells, p.runCell)
	err = errors.Join(err, noPackages(resultsOf(cells)))
	return &run.Manifest{
		Version: run.ManifestVersion, Tool: p.Tool, Command: p.Command,
		Started: run.Timestamp(started), Finished: run.Timestamp(p.Now()), Source: snapshot, Cells: resultsOf(cells),
	}, err
}

func (p *Preview) runCell(ctx context.Context, c *cell) error {
	if err := c.preflight(ctx); err != nil {
		return err
	}
	defer c.exec.Close() // nothing was begun that could fail to end
	evaluationErr := c.evaluate(ctx)
	if c.todo = c.markCached(ctx, p.Served); !c.anyEvaluated() {
		return evaluationErr
	}
	if err := c.makePlan(ctx); err != nil {
		return errors.Join(err, evaluationErr)
	}
	for _, pkg := range c.todo {
		pkg.Verdict = c.plan.Verdict(pkg)
	}
	c.result.Plan, c.result.Verdict = &c.plan, run.Previewed
	return errors.Join(p.planPush(ctx, c), evaluationErr)
}

// planPush asks the cache what it lacks of everything that is already in the engine or in the store.
func (p *Preview) planPush(ctx context.Context, c *cell) error {
	if p.Publish.To == nil && p.Publish.Disabled == "" {
		return nil
	}
	return p.Step(ctx, run.StepPush, c.System, func() (string, error) {
		if p.Publish.To == nil {
			return "", run.Skipped(p.Publish.Disabled)
		}
		if reason := p.neverPublished(c.snapshot); reason != "" {
			return "", run.Skipped(reason)
		}
		infos, unbuilt, err := p.present(ctx, c)
		if err != nil {
			return "", err
		}
		if c.plan.Push, err = p.Publish.Preview(ctx, infos, unbuilt); err != nil {
			return "", p.Publish.Error(c.System, err)
		}
		return c.plan.Push.String(), nil
	})
}

// present returns the closures of the outputs that are there, and counts the others.
func (p *Preview) present(ctx context.Context, c *cell) (infos []nix.PathInfo, unbuilt int, err error) {
	var inStore, inEngine []nix.StorePath
	for _, pkg := range c.result.Packages {
		switch {
		case pkg.Verdict == run.Present:
			inEngine = append(inEngine, pkg.OutputPaths()...)
		case pkg.Verdict == run.Served && p.Store != nil && pkg.ServedBy == p.Store.Name():
			inStore = append(inStore, pkg.OutputPaths()...)
		case pkg.Verdict != run.Served: // the public cache has the others
			unbuilt += len(pkg.Outputs)
		}
	}
	if len(inStore) > 0 {
		if infos, err = p.Store.Closure(ctx, inStore); err != nil {
			return nil, 0, err
		}
	}
	closure, err := c.pathInfo(ctx, inEngine, "--recursive")
	return union(infos, closure), unbuilt, err
}
