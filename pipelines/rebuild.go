package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
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
	// NotBuilt leaves out what this run has built itself: who compares with another run has two builds already.
	NotBuilt bool
	// Apart is the least time between the end of the first build and the beginning of the second, by which every clock
	// shows something else.
	Apart time.Duration
	// Elsewhere opens the engines for those systems whose second builds are made on another one than the first.
	Elsewhere map[matrix.System]Engines
	// Evidence keeps what differs; nil keeps nothing.
	Evidence Evidence
}

// RebuildVerdict says whether an output was proven to be reproducible.
type RebuildVerdict string

// The verdicts of a second build. An output that was not rebuilt is Unknown, which is no pass.
const (
	Good    RebuildVerdict = "good"
	Bad     RebuildVerdict = "bad"
	Unknown RebuildVerdict = "unknown"
)

// SecondBuild says how packages were built a second time; how they were the first time is with their cell.
type SecondBuild struct {
	// Engine is where; nil where that is the cell's own.
	Engine   *Engine `json:"engine,omitempty"`
	Emulated bool    `json:"emulated"`
	Sandbox  *bool   `json:"sandbox,omitempty"`
	// Cores is how many processors each build was told to use. The first was told to use all.
	Cores   int     `json:"cores"`
	Seconds float64 `json:"seconds"`
}

// Reproducible is the verdict over all outputs of a package: the worst of them.
func (p PackageResult) Reproducible() RebuildVerdict {
	verdict := Good
	for _, o := range p.Outputs {
		switch {
		case o.Rebuild == Bad:
			return Bad
		case o.Rebuild != Good:
			verdict = Unknown
		}
	}
	if len(p.Outputs) == 0 {
		return Unknown
	}
	return verdict
}

// outputPaths are the store paths of the outputs.
func (p PackageResult) outputPaths() []nix.StorePath {
	var paths []nix.StorePath
	for _, o := range p.Outputs {
		paths = append(paths, o.Path)
	}
	return paths
}

// RebuildError says which packages came out differently when they were built a second time.
type RebuildError struct {
	System matrix.System
	Failed []PackageResult
}

func (e *RebuildError) Error() string {
	reasons := make([]string, len(e.Failed))
	for i, p := range e.Failed {
		reasons[i] = fmt.Sprintf("%s: %s", p.Package, p.Difference)
	}
	return "rebuild " + strings.Join(reasons, "; ")
}

// isRebuildError says whether a build is good but for coming out differently a second time.
func isRebuildError(err error) bool {
	var broken *RebuildError
	return errors.As(err, &broken)
}

// rebuild has the packages of a cell built a second time, and notes of each output whether it came out the same.
// Since is when the first build has ended.
func (r *Release) rebuild(ctx context.Context, b secondBuild, result *CellResult, since time.Time) error {
	return r.step(ctx, StepRebuild, b.cell.System, func() (string, error) {
		known := r.knownToDiffer(result.Packages)
		if r.Rebuild.Without != "" {
			return "", skipped(r.Rebuild.Without)
		}
		b.todo = r.rebuildable(result.Packages, known)
		if len(b.todo) == 0 && len(known) == 0 {
			return "", skipped("nothing was built here")
		}
		if reason := r.noSecondBuild(result); reason != "" && len(b.todo) > 0 {
			if r.Rebuild.Fetched {
				return "", hint.Wrap(errors.New("rebuild: "+reason), "name an engine for second builds: --rebuild-on; or leave them out: --rebuild=off")
			}
			if b.todo = nil; len(known) == 0 {
				return "", skipped(reason)
			}
		}
		var done string
		failed := known
		if len(b.todo) > 0 {
			if slices.ContainsFunc(b.todo, func(p *PackageResult) bool { return p.Verdict == Built }) {
				if err := sleep(ctx, r.Rebuild.Apart-r.Now().Sub(since)); err != nil {
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
			r.event(Notice{System: b.cell.System, Level: Warning, Text: broken.Error()})
			return fmt.Sprintf("%s not the same a second time", count(len(failed), "package")), nil
		}
		return "", withEvidence(broken)
	})
}

// noSecondBuild says why no second build of a cell can be made; empty where one can. Nix compares only what the machine of
// the engine has built itself.
func (r *Release) noSecondBuild(c *CellResult) string {
	isHere := func(m Machine) bool { return m.Builder == "" && m.Sandbox != nil }
	switch {
	case c.Engine == nil || r.Rebuild.Without != "" || r.Rebuild.Elsewhere[c.System] != nil:
		return ""
	case r.buildersAlone():
		return "second builds are made on this machine, and --jobs 0 keeps it from building"
	case !c.Engine.runs(c.System), len(c.Machines) > 0 && !slices.ContainsFunc(c.Machines, isHere):
		return fmt.Sprintf("second builds are made on this machine, and it cannot build for %s", c.System)
	}
	return ""
}

// rebuildable returns the packages that are to be built a second time. As a rule that is what this engine has built, now
// or before: to build again what was fetched is to fetch or build all that it is made with.
func (r *Release) rebuildable(packages []PackageResult, known []PackageResult) []*PackageResult {
	isKnown := map[matrix.Package]bool{}
	for _, p := range known {
		isKnown[p.Package] = true
	}
	var todo []*PackageResult
	for i, p := range packages {
		wanted := false
		switch p.Verdict {
		case Built:
			wanted = !r.Rebuild.NotBuilt
		case Present:
			wanted = true
		case Substituted, Served:
			wanted = r.Rebuild.Fetched
		}
		if wanted && !isKnown[p.Package] {
			todo = append(todo, &packages[i])
		}
	}
	return todo
}

// wantsProof says whether the outputs that a cache serves are to be built all the same, since nobody has proven them.
func (r *Release) wantsProof(packages []PackageResult) bool {
	if r.Rebuild.Without != "" || !r.Rebuild.Fetched {
		return false
	}
	for _, p := range packages {
		if p.Reproducible() != Good {
			return true
		}
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withEvidence tells how to look into what differs.
func withEvidence(broken *RebuildError) error {
	var err error = broken
	for _, p := range broken.Failed {
		err = hintKept(err, string(p.Package), p.Difference.Kept, p.Difference.Page)
	}
	return hint.Wrap(err, "to be warned only: --rebuild=warn")
}
