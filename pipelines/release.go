package pipelines

import (
	"context"
	"errors"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Release is a run that builds packages. Its fields configure whether it checks, exports and publishes them.
type Release struct {
	Job
	Contract  ContractPolicy
	CacheKeys CacheKeys // nil if no cache is asked for its keys
	History   History   // nil if the source has none
	FixHint   string    // the advice about wrong hashes

	Served []ServingCache // what one of them has is not built
	Fresh  bool           // do not use recorded results, and do not change them

	Rebuild     Rebuilding
	Derivations *regular.Dir // where derivations are kept; nil keeps none
	Store       Store        // nil exports nothing
	// Public reports whether a trusted key has signed an object. Such objects are not exported. Nil exports all.
	Public  func(nix.PathInfo) bool
	Publish publish.Publisher // the zero value publishes nothing
	Results Results
}

// Run does everything: it takes one snapshot, runs its cells in parallel, and writes one manifest. The errors of all cells
// are joined. The manifest is nil only if there is no snapshot.
func (r *Release) Run(ctx context.Context) (*run.Manifest, error) {
	started := r.beginning()
	snapshot, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	m := r.newManifest(started, snapshot)
	m.Contract, err = r.checkFiles(ctx, snapshot)
	if err == nil {
		err = r.checkAccess(ctx, snapshot)
	}
	cells := r.newCells(snapshot)
	if err == nil {
		err = r.eachCell(ctx, cells, r.runCell)
	}
	m.Cells = resultsOf(cells)
	err = errors.Join(err, noPackages(m.Cells))
	err = errors.Join(err, r.Publish.PinRelease(ctx, m.Cells, err))
	if err == nil {
		err = r.unfinished(cells, m.Cells)
	}
	return m, r.finish(ctx, m, started, err)
}

// runCell runs the steps of one system.
func (r *Release) runCell(ctx context.Context, c *cell) (err error) {
	started := r.Now()
	defer func() {
		c.result.Seconds = run.Seconds(r.Now().Sub(started))
		if err != nil && run.OutcomeOf(err) != run.OutcomeUnpublished { // result.Publish has that error
			c.result.Error = nix.FirstLine(err.Error())
		}
	}()
	if r.isCached(ctx, c) {
		return r.publish(ctx, c, nil)
	}
	if err := c.preflight(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.exec.Close()) }()
	evaluationErr := c.evaluate(ctx)
	// The packages that evaluate are built, but the error fails the run.
	defer func() { err = errors.Join(err, evaluationErr) }()
	if c.todo = c.markCached(ctx, r.Served); !c.anyEvaluated() {
		return nil
	}
	if err := c.makePlan(ctx); err != nil {
		return err
	}
	if err := c.probe(ctx, r.needsSandbox(c)); err != nil {
		return err
	}
	if err := r.requireSandboxForSecret(c); err != nil {
		return err
	}
	buildErr := c.build(ctx)
	if err := r.recordSandbox(c); err != nil {
		return errors.Join(buildErr, err)
	}
	if buildErr = r.check(ctx, c, buildErr); buildErr != nil && ctx.Err() != nil {
		return buildErr // the errors of the other steps would only repeat it
	}
	var publishErr error
	if r.Store != nil {
		// Outputs that break the contract are exported, too: they are needed for debugging, and need no second build.
		if err := r.export(ctx, c); err != nil {
			r.withholdChanged(c, err)
			return errors.Join(buildErr, err)
		}
		publishErr = r.publish(ctx, c, buildErr)
	}
	if buildErr == nil && evaluationErr == nil {
		c.result.Verdict = run.Built
		r.recordResults(c)
	}
	return errors.Join(buildErr, publishErr)
}

// check checks what was built: the contract, a second build, and the derivations for a comparison with other machines.
func (r *Release) check(ctx context.Context, c *cell, buildErr error) error {
	built := r.Now()
	buildErr = r.locateHashMismatch(c, buildErr)
	if buildErr == nil {
		buildErr = r.checkOutputs(ctx, c)
		c.result.Checked = buildErr == nil
	}
	interrupted := buildErr != nil && ctx.Err() != nil
	if !interrupted && (buildErr == nil || r.Rebuild.NotBuilt) { // a comparison with another run is about all packages
		buildErr = errors.Join(buildErr, r.rebuild(ctx, c, built))
	}
	r.keepDerivations(ctx, c)
	return buildErr
}
