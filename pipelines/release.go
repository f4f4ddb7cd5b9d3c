package pipelines

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Release is one run, with all that it needs. Each of its fields is set before Run and read only after.
type Release struct {
	*run.Recorder

	ID      string // names the run in logs; unique on this machine
	Command string // "release", "warm" or "build"
	Tool    string // this program's version
	Flake   string // the reference as the user gave it
	Job     string // the web page of the job of a CI service that the run is in; empty elsewhere

	Cells     []matrix.Cell
	Source    Source
	Overrides []Override
	Engines   Engines
	Store     Store          // what the run exports into; nil for nowhere
	Served    []ServingCache // an output that one of them serves is neither built nor fetched
	Publish   publish.Publisher
	Rebuild   Rebuilding
	// Derivations keeps what was to be built; nil keeps nothing.
	Derivations DerivationKeeper
	CacheKeys   CacheKeys // nil where no cache is asked
	History     History   // nil where the source has none
	// Record is what this user's runs know of store objects, and of snapshots that were built before. With Fresh, what it
	// says of outputs is not used: the run always looks, and leaves the results of the last release as they are.
	Record *record.Record
	Fresh  bool

	Contract ContractPolicy // what the flake has promised

	Settings nix.Settings  // of Nix, for every command
	Builders []nix.Builder // remote builders, which may run a system that the engine cannot
	Memlock  int64         // bytes that the packages' tests need to lock; 0 for none
	Logs     *regular.Dir  // the build logs' directory
	// ManifestFile is where the manifest is written.
	ManifestFile regular.File
	FixHint      string        // says how wrong hashes are put right
	FailFast     bool          // the first failed cell ends the others
	Stall        time.Duration // how long a build may say nothing before its last lines are shown

	mentioned *sync.Map // remote builders that the run has said are not used
}

// Override puts another flake in an input's place.
type Override struct {
	Input string
	// Ref is the other flake's reference; Dir, where it is not empty, a directory of this machine that holds it.
	Ref, Dir string
}

// Run tells the whole story: one snapshot, its cells side by side, one manifest.
// A cell that fails does not keep the others from their end, unless FailFast is set.
// The manifest is never nil once the snapshot is taken; the errors of all cells are joined.
func (r *Release) Run(ctx context.Context) (*run.Manifest, error) {
	started := r.Now()
	r.mentioned = new(sync.Map)
	r.Event(run.RunStarted{ID: r.ID, Flake: r.Flake, Cells: r.Cells})
	snapshot, err := r.snapshot(ctx)
	if err != nil {
		r.Event(run.RunFinished{Seconds: run.Seconds(r.Now().Sub(started))})
		return nil, err
	}
	checked, err := r.checkFiles(ctx, snapshot)
	if err == nil {
		err = r.checkAccess(ctx, snapshot)
	}
	var results []run.CellResult
	if err != nil {
		for _, cell := range r.Cells {
			results = append(results, newCellResult(cell))
		}
	} else {
		results, err = r.eachCell(ctx, func(ctx context.Context, cell matrix.Cell) (run.CellResult, error) {
			return r.cell(ctx, snapshot, cell)
		})
	}
	err = errors.Join(err, r.Publish.PinRelease(ctx, results, err))
	if err == nil {
		err = r.unfinished(results)
	}
	m, manifestErr := r.manifest(ctx, started, snapshot, checked, results, err)
	return m, errors.Join(err, manifestErr)
}

// cell is the story of one system.
func (r *Release) cell(ctx context.Context, s run.Snapshot, cell matrix.Cell) (result run.CellResult, err error) {
	started := r.Now()
	result = newCellResult(cell)
	defer func() {
		result.Seconds = run.Seconds(r.Now().Sub(started))
		if err != nil && run.OutcomeOf(err) != run.OutcomeUnpublished { // that is said in result.Publish
			result.Error = nix.FirstLine(err.Error())
		}
	}()

	if packages, ok := r.served(ctx, s, cell); ok {
		result.Verdict, result.Packages = run.Served, packages
		return result, r.publish(ctx, s, cell, &result, nil, nil, nil)
	}
	x, engine, err := r.preflight(ctx, cell)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	result.Engine, result.Emulated = &engine, r.emulated(engine, cell)

	evaluation, evaluationErr := r.evaluate(ctx, x, s, cell)
	if len(evaluation) > 0 {
		result.Packages = evaluation.results()
	}
	if evaluation.good() == 0 {
		return result, evaluationErr
	}
	// The others are built, and the error ends the run all the same.
	defer func() { err = errors.Join(err, evaluationErr) }()
	todo := r.unserved(ctx, cell, result.Packages)
	plan, err := r.plan(ctx, x, cell, todo)
	if err != nil {
		return result, err
	}
	probed, err := r.smoke(ctx, x, engine, cell, todo, plan)
	if err != nil {
		return result, err
	}
	setMachines(&result, probed, nil)
	if err := r.guardSecret(cell, engine, probed); err != nil {
		return result, err
	}

	closure, work, buildErr := r.build(ctx, x, engine, s, cell, todo, plan, probed)
	result.Work = work
	setMachines(&result, probed, work)
	probed.sandbox = result.Sandbox
	if err := r.recordSandbox(&result, closure); err != nil {
		return result, errors.Join(buildErr, err)
	}
	built := r.Now()
	buildErr = r.pointOut(s, &result, buildErr)
	if buildErr == nil {
		// A broken promise does not keep what was built from the local cache: it is needed to look into, and paid for.
		buildErr = r.contract(ctx, x, engine, s, cell, &result, probed)
		result.Checked = buildErr == nil
	}
	interrupted := buildErr != nil && ctx.Err() != nil
	if !interrupted && (buildErr == nil || r.Rebuild.NotBuilt) { // who compares wants to know of all packages
		second := secondBuild{r: r, x: x, engine: engine, snapshot: s, cell: cell, probed: probed}
		buildErr = errors.Join(buildErr, r.rebuild(ctx, second, &result, built))
	}
	r.keepDerivations(ctx, x, cell, result.Packages)
	if buildErr != nil && ctx.Err() != nil {
		// The other steps are not begun on a context that is done, and their errors would only repeat this one.
		return result, buildErr
	}
	var publishErr error
	if r.Store != nil {
		added, err := r.export(ctx, x, cell, result.Packages, closure)
		if err != nil {
			r.withholdChanged(&result, err)
			return result, errors.Join(buildErr, err)
		}
		result.Exported = true
		publishErr = r.publish(ctx, s, cell, &result, closure, added, buildErr)
	}
	if buildErr != nil {
		return result, errors.Join(buildErr, publishErr)
	}
	if evaluationErr != nil {
		return result, publishErr
	}
	result.Verdict = run.Built
	if r.isGood(result) {
		r.recordCell(s, cell, result.Packages)
	}
	return result, publishErr
}

// newCellResult is a cell of which nothing has come yet.
func newCellResult(cell matrix.Cell) run.CellResult {
	result := run.CellResult{System: cell.System, Verdict: run.Failed}
	for _, p := range cell.Packages {
		result.Packages = append(result.Packages, run.PackageResult{Package: p, Verdict: run.Failed})
	}
	return result
}

// eachCell runs f for all cells in parallel and returns the results in the order of the cells.
func (r *Release) eachCell(ctx context.Context, f func(context.Context, matrix.Cell) (run.CellResult, error)) ([]run.CellResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]run.CellResult, len(r.Cells))
	errs := make([]error, len(r.Cells))
	var g errgroup.Group // not WithContext: one failed cell must not end the others
	for i, cell := range r.Cells {
		g.Go(func() error {
			var err error
			results[i], err = f(ctx, cell)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", cell.System, err)
				if r.FailFast {
					cancel(fmt.Errorf("%s has failed (--fail-fast)", cell.System))
				}
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs, in order
	return results, errors.Join(errs...)
}
