package pipelines

import (
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// cellKey has everything that the outputs of a cell depend on, and the contract that they satisfy. The lock file is a part
// of the tree, and so of its hash.
type cellKey struct {
	NARHash      string
	Subdir       string
	Rev          string
	LastModified int64
	System       matrix.System
	Packages     []matrix.Package
	Overrides    map[string]string
	Contract     string
}

func (r *Release) cellKey(c *cell) cellKey {
	s := c.snapshot
	return cellKey{
		NARHash: s.NARHash, Subdir: s.Subdir, Rev: s.Rev, LastModified: s.LastModified,
		Overrides: s.Overrides, System: c.System, Packages: c.Packages, Contract: r.Contract.key(),
	}
}

// recordedResults returns the results of a cell in an earlier run. They only determine the queries to caches.
func (r *Release) recordedResults(c *cell) (packages []run.PackageResult, ok bool) {
	if r.Fresh || len(r.Overrides) > 0 {
		return nil, false
	}
	ok, _ = r.Record.Cell(r.cellKey(c), &packages) // an unreadable result is computed again
	return packages, ok && len(packages) > 0
}

// recordResults records the results of a cell for later runs of the same snapshot, if nothing in them needs a warning.
// Overridden inputs are known only by reference, which may name another tree later: nothing is recorded.
func (r *Release) recordResults(c *cell) {
	_, broken := contract.Counts(c.result.Contract)
	differs := slices.ContainsFunc(c.result.Packages, func(p run.PackageResult) bool { return p.Reproducible() == run.Bad })
	unsandboxed := c.result.Sandbox != nil && !*c.result.Sandbox
	if r.Fresh || len(r.Overrides) > 0 || broken || differs || unsandboxed {
		return
	}
	kept := slices.Clone(c.result.Packages)
	for i := range kept {
		kept[i].Seconds, kept[i].Log, kept[i].ServedBy, kept[i].Builder = 0, "", "", ""
	}
	if err := r.Record.SetCell(r.cellKey(c), kept); err != nil {
		r.Warn(c.System, "%v", err)
	}
}

// recordSandbox records whether each output that this run built was built in a sandbox. It does so right after the
// build, because the outputs stay in the engine's store even if the run fails.
func (r *Release) recordSandbox(c *cell) error {
	result := &c.result
	if result.Sandbox == nil {
		return nil
	}
	sandbox := record.SandboxOn
	if !*result.Sandbox {
		sandbox = record.SandboxOff
	}
	if result.WritableInputs {
		sandbox = record.WritableInputs
	}
	verdicts := map[nix.StorePath]run.Verdict{}
	for _, p := range result.Packages {
		for _, path := range p.OutputPaths() {
			verdicts[path] = p.Verdict
		}
	}
	var built []nix.StorePath
	if result.Work != nil {
		built = result.Work.Outputs
	}
	for _, info := range c.closure {
		if result.Work.HasBuilt(info.Deriver) {
			built = append(built, info.Path)
		}
	}
	for _, path := range built {
		if _, isOutput := verdicts[path]; !isOutput {
			verdicts[path] = run.Built
		}
	}
	var paths []nix.StorePath
	for path := range verdicts {
		paths = append(paths, path)
	}
	return r.Record.Change(paths, func(o *record.Object) {
		switch verdicts[o.Path] {
		case run.Built:
			o.Sandbox = sandbox
		case run.Substituted:
			o.Sandbox = ""
		case run.Failed: // an interrupted run may have built it
			if sandbox.IsOff() && o.Sandbox != record.WritableInputs {
				o.Sandbox = sandbox
			}
		case run.Present: // an earlier run has built it, in the same way unless the record says otherwise
			if sandbox.IsOff() && o.Sandbox != record.SandboxOn && o.Sandbox != record.WritableInputs {
				o.Sandbox = sandbox
			}
		}
	})
}

// knownToDiffer returns the packages that differed in a second build of an earlier run, with that difference. They are not
// reproducible, even if a cache has them now.
func (r *Release) knownToDiffer(packages []run.PackageResult) (known []run.PackageResult) {
	if r.Fresh {
		return nil
	}
	for i := range packages {
		p := &packages[i]
		for j, o := range p.Outputs {
			recorded, ok := r.Record.Object(o.Path)
			if !ok || recorded.Second != record.Different || recorded.Difference == nil || p.Verdict == run.Failed {
				continue
			}
			d := recorded.Difference
			p.Outputs[j].Rebuild = run.Bad
			p.Difference = &run.Difference{Output: o.Path, Reason: d.Reason, Kept: d.Kept, Page: d.Page, Files: d.Files, Earlier: true}
			p.Difference.Forget()
		}
		if p.Difference != nil && p.Difference.Earlier {
			known = append(known, *p)
		}
	}
	return known
}

// recordSecondBuild records whether the second build of each output had the same result. It leaves out second builds
// that failed, because they may have another reason.
func (r *Release) recordSecondBuild(packages []*run.PackageResult) error {
	results := map[nix.StorePath]*run.Difference{}
	var paths []nix.StorePath
	for _, p := range packages {
		for _, o := range p.Outputs {
			switch {
			case o.Rebuild == run.Good:
				results[o.Path] = nil
			case p.Difference != nil && p.Difference.Output == o.Path:
				results[o.Path] = p.Difference
			default:
				continue
			}
			paths = append(paths, o.Path)
		}
	}
	return r.Record.Change(paths, func(o *record.Object) {
		if d := results[o.Path]; d != nil {
			o.Second = record.Different
			o.Difference = &record.Difference{Reason: d.Reason, Kept: d.Kept, Page: d.Page, Files: d.Files}
		} else if o.Second != record.Different {
			o.Second = record.Same
		}
	})
}
