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

// Rebuilding configures second builds, and what a difference does.
type Rebuilding struct {
	// Without is the reason why nothing is rebuilt; empty if packages are rebuilt.
	Without string
	// WarnOnly makes a difference a warning.
	WarnOnly bool
	// Fetched also rebuilds what was fetched, or what a cache has: the first build was elsewhere.
	Fetched bool
	// NotBuilt leaves out what this run built, for a comparison with another run.
	NotBuilt bool
	// Apart is the minimum time between the end of the first build and the beginning of the second, so that all timestamps
	// differ.
	Apart time.Duration
	// Elsewhere opens the engines of second builds, for systems that have their own.
	Elsewhere map[matrix.System]Engines
	// Evidence keeps outputs that differ; nil keeps nothing.
	Evidence run.Evidence
}

// rebuild builds the packages of a cell a second time, and sets whether each output is the same. Since is the end of
// the first build.
func (r *Release) rebuild(ctx context.Context, c *cell, since time.Time) error {
	return r.Step(ctx, run.StepRebuild, c.System, func() (string, error) {
		failed := r.knownToDiffer(c.result.Packages)
		if r.Rebuild.Without != "" {
			return "", run.Skipped(r.Rebuild.Without)
		}
		b := secondBuild{cell: c, r: r, again: r.rebuildable(c.result.Packages, failed)}
		if len(b.again) == 0 && len(failed) == 0 {
			return "", run.Skipped("nothing was built here")
		}
		if reason := r.noSecondBuild(&c.result); reason != "" && len(b.again) > 0 {
			if r.Rebuild.Fetched {
				return "", hint.Wrap(errors.New("rebuild: "+reason), "name an engine for second builds: --rebuild-on; or leave them out: --rebuild=off")
			}
			if b.again = nil; len(failed) == 0 {
				return "", run.Skipped(reason)
			}
		}
		var done string
		if len(b.again) > 0 {
			differ, err := b.run(ctx, since)
			if err != nil {
				return "", err
			}
			failed = append(failed, differ...)
			done = b.describe(len(b.again) - len(differ))
		}
		if len(failed) == 0 {
			return done, nil
		}
		broken := &RebuildError{System: c.System, Failed: failed}
		if r.Rebuild.WarnOnly {
			r.Warn(c.System, "%v", broken)
			return fmt.Sprintf("%s not the same a second time", run.Count(len(failed), "package")), nil
		}
		return "", withEvidence(broken)
	})
}

// noSecondBuild returns why there can be no second build of a cell; empty if there can. Nix compares only what the engine's
// own machine has built.
func (r *Release) noSecondBuild(c *run.CellResult) string {
	isHere := func(m run.Machine) bool { return m.Builder == "" && m.Sandbox != nil }
	switch {
	case c.Engine == nil || r.Rebuild.Without != "" || r.Rebuild.Elsewhere[c.System] != nil:
		return ""
	case r.onlyBuilders():
		return "second builds are made on this machine, and --jobs 0 keeps it from building"
	case !c.Engine.Runs(c.System), len(c.Machines) > 0 && !slices.ContainsFunc(c.Machines, isHere):
		return fmt.Sprintf("second builds are made on this machine, and it cannot build for %s", c.System)
	}
	return ""
}

// rebuildable returns the packages to build a second time: by default what this engine has built, now or before. To rebuild
// a fetched package, Nix has to fetch or build all its inputs.
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

// mustRebuildCached reports whether outputs in a cache must be built, because they have no second build.
func (r *Release) mustRebuildCached(packages []run.PackageResult) bool {
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

// withEvidence adds the commands that compare what differs.
func withEvidence(broken *RebuildError) error {
	var err error = broken
	for _, p := range broken.Failed {
		err = run.HintKept(err, string(p.Package), p.Difference.Kept, p.Difference.Page)
	}
	return hint.Wrap(err, "to be warned only: --rebuild=warn")
}
