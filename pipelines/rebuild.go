package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Rebuilding says whether packages are built a second time, and what a difference does.
type Rebuilding struct {
	// Without is why nothing is rebuilt; empty where it is.
	Without string
	// WarnOnly makes a warning of what is an error otherwise.
	WarnOnly bool
	// Fetched asks for a second build also of what was fetched, or what a cache serves: the first was elsewhere.
	Fetched bool
	// NotBuilt leaves out what this run built: a comparison with another run has two builds already.
	NotBuilt bool
	// Apart is the least time between the end of the first build and the beginning of the second, by which every clock
	// shows something else.
	Apart time.Duration
	// Elsewhere opens the engines for those systems whose second builds are made on another one than the first.
	Elsewhere map[matrix.System]Engines
	// Evidence keeps what differs; nil keeps nothing.
	Evidence run.Evidence
}

// rebuild has the packages of a cell built a second time, and notes of each output whether it came out the same.
// Since is when the first build has ended.
func (r *Release) rebuild(ctx context.Context, b secondBuild, result *run.CellResult, since time.Time) error {
	return r.Step(ctx, run.StepRebuild, b.cell.System, func() (string, error) {
		known := r.knownToDiffer(result.Packages)
		if r.Rebuild.Without != "" {
			return "", run.Skipped(r.Rebuild.Without)
		}
		b.todo = r.rebuildable(result.Packages, known)
		if len(b.todo) == 0 && len(known) == 0 {
			return "", run.Skipped("nothing was built here")
		}
		if reason := r.noSecondBuild(result); reason != "" && len(b.todo) > 0 {
			if r.Rebuild.Fetched {
				return "", hint.Wrap(errors.New("rebuild: "+reason), "name an engine for second builds: --rebuild-on; or leave them out: --rebuild=off")
			}
			if b.todo = nil; len(known) == 0 {
				return "", run.Skipped(reason)
			}
		}
		var done string
		failed := known
		if len(b.todo) > 0 {
			if slices.ContainsFunc(b.todo, func(p *run.PackageResult) bool { return p.Verdict == run.Built }) {
				if err := run.Sleep(ctx, r.Rebuild.Apart-r.Now().Sub(since)); err != nil {
					return "", err
				}
			}
			second, differ, err := b.make(ctx)
			if err != nil {
				return "", err
			}
			otherwise, err := b.servedOtherwise(ctx)
			if err != nil {
				return "", err
			}
			differ = append(differ, otherwise...)
			result.Second, failed = second, append(failed, differ...)
			done = b.describe(second, len(b.todo)-len(differ))
		}
		if len(failed) == 0 {
			return done, nil
		}
		broken := &RebuildError{System: b.cell.System, Failed: failed}
		if r.Rebuild.WarnOnly {
			r.Event(run.Notice{System: b.cell.System, Level: run.Warning, Text: broken.Error()})
			return fmt.Sprintf("%s not the same a second time", run.Count(len(failed), "package")), nil
		}
		return "", withEvidence(broken)
	})
}

// noSecondBuild says why no second build of a cell can be made; empty where one can. Nix compares only what the machine of
// the engine has built itself.
func (r *Release) noSecondBuild(c *run.CellResult) string {
	isHere := func(m run.Machine) bool { return m.Builder == "" && m.Sandbox != nil }
	switch {
	case c.Engine == nil || r.Rebuild.Without != "" || r.Rebuild.Elsewhere[c.System] != nil:
		return ""
	case r.buildersAlone():
		return "second builds are made on this machine, and --jobs 0 keeps it from building"
	case !c.Engine.Runs(c.System), len(c.Machines) > 0 && !slices.ContainsFunc(c.Machines, isHere):
		return fmt.Sprintf("second builds are made on this machine, and it cannot build for %s", c.System)
	}
	return ""
}

// rebuildable returns the packages that are to be built a second time. As a rule that is what this engine has built, now
// or before: to build again what was fetched is to fetch or build all that it is made with.
func (r *Release) rebuildable(packages []run.PackageResult, known []run.PackageResult) []*run.PackageResult {
	isKnown := map[matrix.Package]bool{}
	for _, p := range known {
		isKnown[p.Package] = true
	}
	var todo []*run.PackageResult
	for i, p := range packages {
		wanted := false
		switch p.Verdict {
		case run.Built:
			wanted = !r.Rebuild.NotBuilt
		case run.Present:
			wanted = true
		case run.Substituted, run.Served:
			wanted = r.Rebuild.Fetched
		}
		if wanted && !isKnown[p.Package] {
			todo = append(todo, &packages[i])
		}
	}
	return todo
}

// wantsProof reports whether outputs that a cache serves must be built, because they have no second build.
func (r *Release) wantsProof(packages []run.PackageResult) bool {
	if r.Rebuild.Without != "" || !r.Rebuild.Fetched {
		return false
	}
	for _, p := range packages {
		if p.Reproducible() != run.Good {
			return true
		}
	}
	return false
}

// withEvidence tells how to look into what differs.
func withEvidence(broken *RebuildError) error {
	var err error = broken
	for _, p := range broken.Failed {
		err = run.HintKept(err, string(p.Package), p.Difference.Kept, p.Difference.Page)
	}
	return hint.Wrap(err, "to be warned only: --rebuild=warn")
}
