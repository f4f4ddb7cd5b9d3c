package pipelines

import (
	"context"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// onAnotherEngine builds the packages on another engine, such as an emulating one after a native one, and compares the NAR
// hashes. It rebuilds also what that engine already has from a cache or an earlier build.
func (b secondBuild) onAnotherEngine(ctx context.Context, engines Engines, second *run.SecondBuild) (failed []run.PackageResult, err error) {
	other := &cell{Job: b.Job, Cell: matrix.Cell{System: b.System}, snapshot: b.snapshot}
	for _, p := range b.again {
		other.Packages = append(other.Packages, p.Package)
	}
	if err := other.open(ctx, engines); err != nil {
		return nil, fmt.Errorf("rebuild on another engine: %w", err)
	}
	defer other.exec.Close() // nothing was begun that could fail to end
	second.Engine, second.Emulated, second.Cores = &other.engine, other.isEmulated(), otherCores(other.engine)
	failed, err = b.compareDerivations(ctx, other)
	if err != nil || len(failed) > 0 {
		return failed, err
	}
	if err := other.measureAll(ctx, []candidate{{system: b.System}}); err != nil {
		return nil, err
	}
	here := other.probed.here()
	second.Sandbox, second.Emulated = here.Sandbox, here.Emulated
	failed, err = b.buildOn(ctx, other)
	if err != nil || len(failed) > 0 {
		return failed, err
	}
	return b.compareHashes(ctx, other)
}

// compareDerivations evaluates on the other engine, which puts the derivations into its store. Packages with another
// derivation there cannot be the same.
func (b secondBuild) compareDerivations(ctx context.Context, other *cell) (failed []run.PackageResult, err error) {
	packages, err := other.evaluateProtected(ctx)
	if err == nil {
		err = failedEvaluation(b.System, packages)
	}
	if err != nil {
		return nil, err
	}
	there := map[matrix.Package]nix.StorePath{}
	for _, p := range packages {
		there[p.Package] = p.Derivation
	}
	for _, p := range b.again {
		if drv := there[p.Package]; drv != p.Derivation {
			p.Difference = &run.Difference{Reason: fmt.Sprintf("it is %s here and %s on another engine", p.Derivation, drv)}
			setRebuild(p, run.Bad)
			failed = append(failed, *p)
		}
	}
	return failed, nil
}

// buildOn builds the packages on the other engine. Their inputs may come from caches, the packages themselves may not.
func (b secondBuild) buildOn(ctx context.Context, other *cell) ([]run.PackageResult, error) {
	if err := b.fetchInputs(ctx, other); err != nil {
		return nil, err
	}
	invalid, err := other.invalid(ctx, outputsOf(b.again))
	if err != nil {
		return nil, err
	}
	incomplete, complete := byValidity(b.again, invalid)
	var failed []run.PackageResult
	for _, part := range []struct {
		packages []*run.PackageResult
		flags    []string
	}{{incomplete, nil}, {complete, []string{"--check", "--keep-failed"}}} {
		if len(part.packages) == 0 {
			continue
		}
		differ, err := b.realiseAgain(ctx, other, part.packages, part.flags, nix.Settings{"substitute": "false"})
		failed = append(failed, differ...)
		if err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// fetchInputs realises the direct inputs of the packages on the other engine.
func (b secondBuild) fetchInputs(ctx context.Context, other *cell) error {
	own := nix.PathSet(derivationsOf(b.again))
	references, err := other.query(ctx, derivationsOf(b.again), "--query", "--references")
	if err != nil {
		return fmt.Errorf("look up inputs: %w", err)
	}
	var inputs []nix.StorePath
	for _, in := range references {
		if in.IsDerivation() && !own[in] {
			inputs = append(inputs, in)
		}
	}
	if len(inputs) == 0 {
		return nil
	}
	log := b.newLog()
	err = other.realise(ctx, inputs, log)
	log.DecideByStore(nil)
	if err != nil {
		return fmt.Errorf("make inputs: %w", err)
	}
	return nil
}

// compareHashes sets the verdict of each output from its NAR hashes on both engines.
func (b secondBuild) compareHashes(ctx context.Context, other *cell) (failed []run.PackageResult, err error) {
	if err := b.fetch(ctx, b.again); err != nil {
		return nil, err
	}
	here, err := b.hashes(ctx, b.cell)
	if err != nil {
		return nil, err
	}
	there, err := b.hashes(ctx, other)
	if err != nil {
		return nil, err
	}
	for _, p := range b.again {
		for i := range p.Outputs {
			o := &p.Outputs[i]
			if there[o.Path] == here[o.Path] {
				o.Rebuild = run.Good
				continue
			}
			o.Rebuild = run.Bad
			if p.Difference == nil { // one output is enough to compare
				p.Difference = &run.Difference{Output: o.Path, Reason: fmt.Sprintf("a second build, on %s, differs in %s", b.cell.describe(other.engine), o.Path)}
				b.compare(ctx, p.Difference, b.r.keepFrom(b.cell, "first", o.Path), b.r.keepFrom(other, "second", o.Path))
			}
		}
		if p.Difference != nil {
			failed = append(failed, *p)
		}
	}
	return failed, nil
}

// hashes returns the NAR hashes of the packages' closure on an engine.
func (b secondBuild) hashes(ctx context.Context, on *cell) (map[nix.StorePath]string, error) {
	infos, err := on.runtimeClosure(ctx, b.again)
	hashes := make(map[nix.StorePath]string, len(infos))
	for _, info := range infos {
		hashes[info.Path] = info.NARHash.SRI()
	}
	return hashes, err
}
