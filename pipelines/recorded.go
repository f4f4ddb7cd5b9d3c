package pipelines

import (
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// cellKey is everything that the outputs of a cell depend on, and under what terms they were checked. The lock file is
// part of the tree, and so of its hash.
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

func (r *Release) cellKey(s run.Snapshot, cell matrix.Cell) cellKey {
	return cellKey{
		NARHash: s.NARHash, Subdir: s.Subdir, Rev: s.Rev, LastModified: s.LastModified,
		Overrides: s.Overrides, System: cell.System, Packages: cell.Packages, Contract: r.Contract.key(),
	}
}

// recordedCell returns the results that an earlier run has recorded of a cell. It is a list of what to ask caches for:
// the caches are always asked.
func (r *Release) recordedCell(s run.Snapshot, cell matrix.Cell) (packages []run.PackageResult, ok bool) {
	if r.Fresh || len(r.Overrides) > 0 {
		return nil, false
	}
	ok, _ = r.Record.Cell(r.cellKey(s, cell), &packages) // what cannot be read is found out again
	return packages, ok && len(packages) > 0
}

// recordCell records what a later run of the same snapshot need not find out again.
// Overridden inputs are known only by reference, which may name another tree later: nothing is recorded.
func (r *Release) recordCell(s run.Snapshot, cell matrix.Cell, packages []run.PackageResult) {
	if r.Fresh || len(r.Overrides) > 0 {
		return
	}
	kept := slices.Clone(packages)
	for i := range kept {
		kept[i].Seconds, kept[i].Log, kept[i].ServedBy, kept[i].Builder = 0, "", "", ""
	}
	if err := r.Record.SetCell(r.cellKey(s, cell), kept); err != nil {
		r.Warn(cell.System, "%v", err)
	}
}

// recordSandbox records of what the run has built, dependencies too, whether that was in a sandbox. It does so right after
// the build: the outputs stay in the engine's store, whatever becomes of the run.
func (r *Release) recordSandbox(result *run.CellResult, closure []nix.PathInfo) error {
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
	for _, info := range closure {
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
		case run.Failed: // a run that is interrupted may have built it
			if sandbox.IsOff() && o.Sandbox != record.WritableInputs {
				o.Sandbox = sandbox
			}
		case run.Present: // an earlier run on this machine has built it, in the same way unless it has said otherwise
			if sandbox.IsOff() && o.Sandbox != record.SandboxOn && o.Sandbox != record.WritableInputs {
				o.Sandbox = sandbox
			}
		}
	})
}

// knownToDiffer returns the packages of which an earlier run has recorded that a second build came out differently, with
// that difference. Bits that were not the same once are not reproducible, whoever serves them now.
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

// recordSecondBuild records of each output whether a second build came out the same. A second build that failed may have
// failed for another reason.
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
