package pipelines

import (
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// elsewhere builds the packages on another engine, such as an emulating one where the first was native, and compares
// the NAR hashes. Nothing comes of it that was not built there: what it has already, from a cache or an earlier build,
// is built again as well.
func (b secondBuild) elsewhere(ctx context.Context, engines Engines) (_ *run.SecondBuild, failed []run.PackageResult, err error) {
	y, err := engines.Open(ctx, b.cell.System)
	if err != nil {
		return nil, nil, fmt.Errorf("rebuild on another engine: %w", err)
	}
	defer y.Close() // nothing was begun that could fail to end
	e, err := y.Describe(ctx)
	if err == nil {
		err = b.r.refuse(e, b.cell)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("rebuild on another engine: %w", err)
	}
	second := &run.SecondBuild{Engine: &e, Emulated: b.r.emulated(e, b.cell), Cores: otherCores(e)}
	failed, err = b.sameDerivations(ctx, y)
	if err != nil || len(failed) > 0 {
		return second, failed, err
	}
	p, err := b.r.measureAll(ctx, y, b.cell.System, []candidate{{system: b.cell.System}})
	if err != nil {
		return second, nil, err
	}
	second.Sandbox, second.Emulated = p.here().Sandbox, p.here().Emulated
	failed, err = b.buildOn(ctx, y, second.Cores, p)
	if err != nil || len(failed) > 0 {
		return second, failed, err
	}
	failed, err = b.compareHashes(ctx, y, e)
	return second, failed, err
}

// sameDerivations evaluates on the other engine, which puts the derivations into its store. Packages that are of another
// derivation there cannot be the same.
func (b secondBuild) sameDerivations(ctx context.Context, y engine.Executor) (failed []run.PackageResult, err error) {
	cell := matrix.Cell{System: b.cell.System}
	for _, p := range b.todo {
		cell.Packages = append(cell.Packages, p.Package)
	}
	evaluation, err := b.r.evaluateProtected(ctx, y, b.snapshot, cell)
	if err == nil {
		err = evaluation.failed(cell.System)
	}
	if err != nil {
		return nil, err
	}
	there := map[string]nix.StorePath{}
	for _, p := range evaluation {
		there[string(p.Package)] = p.Derivation
	}
	for _, p := range b.todo {
		if drv := there[string(p.Package)]; drv != p.Derivation {
			p.Difference = &run.Difference{Reason: fmt.Sprintf("it is %s here and %s on another engine", p.Derivation, drv)}
			for i := range p.Outputs {
				p.Outputs[i].Rebuild = run.Bad
			}
			failed = append(failed, *p)
		}
	}
	return failed, nil
}

// buildOn has the other engine build the packages: their inputs may come from caches, they themselves may not.
func (b secondBuild) buildOn(ctx context.Context, y engine.Executor, cores int, p probed) ([]run.PackageResult, error) {
	if err := b.r.fetchInputs(ctx, y, p, b.todo, b.newLog()); err != nil {
		return nil, err
	}
	invalid, err := b.r.invalid(ctx, y, b.todo)
	if err != nil {
		return nil, err
	}
	fresh, there := byValidity(b.todo, invalid)
	var failed []run.PackageResult
	for _, part := range []struct {
		todo  []*run.PackageResult
		flags []string
	}{{fresh, nil}, {there, []string{"--check", "--keep-failed"}}} {
		if len(part.todo) == 0 {
			continue
		}
		log := b.newLog()
		err := b.realise(ctx, y, cores, p, part.todo, log, part.flags, nix.Settings{"substitute": "false"})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		differ, err := b.judge(ctx, y, part.todo, log, err)
		failed = append(failed, differ...)
		if err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// fetchInputs realises what the packages are built with, but for the packages themselves.
func (r *Release) fetchInputs(ctx context.Context, x engine.Executor, p probed, packages []*run.PackageResult, log *buildlog.Log) error {
	own := map[nix.StorePath]bool{}
	for _, p := range packages {
		own[p.Derivation] = true
	}
	references, err := r.queryPaths(ctx, x, append([]string{"--query", "--references"}, derivations(packages)...))
	if err != nil {
		return fmt.Errorf("look up inputs: %w", err)
	}
	var inputs []*run.PackageResult
	for _, in := range references {
		if in.IsDerivation() && !own[in] {
			inputs = append(inputs, &run.PackageResult{Derivation: in})
		}
	}
	if len(inputs) == 0 {
		return nil
	}
	err = r.realise(ctx, x, inputs, p, log, nil)
	log.DecideByStore(nil)
	if err != nil {
		return fmt.Errorf("make inputs: %w", err)
	}
	return nil
}

// compareHashes gives each output its verdict by its NAR hash on both engines.
func (b secondBuild) compareHashes(ctx context.Context, y engine.Executor, e engine.Engine) (failed []run.PackageResult, err error) {
	if err := b.r.fetch(ctx, b.x, b.todo); err != nil {
		return nil, err
	}
	here, err := b.hashes(ctx, b.x, b.engine)
	if err != nil {
		return nil, err
	}
	there, err := b.hashes(ctx, y, e)
	if err != nil {
		return nil, err
	}
	for _, p := range b.todo {
		for i := range p.Outputs {
			o := &p.Outputs[i]
			if there[o.Path] == here[o.Path] {
				o.Rebuild = run.Good
				continue
			}
			o.Rebuild = run.Bad
			if p.Difference != nil {
				continue // one output is enough to look into
			}
			d := &run.Difference{Output: o.Path, Reason: fmt.Sprintf("a second build, on %s, differs in %s", describe(e, b.cell), o.Path)}
			d.Kept, d.Files, d.Page = b.r.CompareKept(ctx, b.r.Rebuild.Evidence, o.Path, b.r.keepFrom(b.x, "first", o.Path), b.r.keepFrom(y, "second", o.Path))
			p.Difference = d
		}
		if p.Difference != nil {
			failed = append(failed, *p)
		}
	}
	return failed, nil
}

// hashes returns the NAR hashes of what an engine has of the packages' closure.
func (b secondBuild) hashes(ctx context.Context, x engine.Executor, e engine.Engine) (map[nix.StorePath]string, error) {
	infos, err := b.r.pathInfo(ctx, x, e, b.todo)
	if err != nil {
		return nil, err
	}
	hashes := make(map[nix.StorePath]string, len(infos))
	for _, info := range infos {
		hashes[info.Path] = info.NARHash.SRI()
	}
	return hashes, nil
}

// byValidity tells the packages that have to be built from those whose outputs are all there.
func byValidity(packages []*run.PackageResult, invalid map[nix.StorePath]bool) (fresh, there []*run.PackageResult) {
	for _, p := range packages {
		if slices.ContainsFunc(p.Outputs, func(o run.Output) bool { return invalid[o.Path] }) {
			fresh = append(fresh, p)
		} else {
			there = append(there, p)
		}
	}
	return fresh, there
}
