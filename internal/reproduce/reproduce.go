package reproduce

import (
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// Run is one of the two runs, with what there is of its results.
type Run struct {
	// Name is what to call it in a report.
	Name     string
	Manifest *pipelines.Manifest
	// Caches may have the contents of its outputs; the first one that does is read.
	Caches []pipelines.Holder
	// Derivations returns what has the derivations of a system.
	Derivations func(ctx context.Context, system matrix.System) (drvdiff.Reader, error)
}

// Compare holds ours against theirs, for the systems that ours has. Errors are those of the context, and of results
// that cannot be read: everything else is a verdict.
func Compare(ctx context.Context, theirs, ours Run, o compare.Options) (*Result, error) {
	c := &comparison{theirs: theirs, ours: ours, options: o, result: &Result{
		Manifest: theirs.Name, Conditions: conditions(theirs.Manifest, ours.Manifest),
	}}
	for _, cell := range ours.Manifest.Cells {
		other, ok := cellOf(theirs.Manifest, cell.System)
		if !ok {
			return nil, fmt.Errorf("reproduce %s: it has no system %s", theirs.Name, cell.System)
		}
		for _, p := range other.Packages {
			found, err := c.compare(ctx, cell, p)
			if err != nil {
				return nil, fmt.Errorf("reproduce %s of %s: %w", p.Package, cell.System, err)
			}
			c.result.Packages = append(c.result.Packages, found)
		}
		c.checks(other.Contract, cell.Contract)
	}
	c.checks(theirs.Manifest.Contract, ours.Manifest.Contract)
	c.result.Good = c.result.Err() == nil
	return c.result, nil
}

type comparison struct {
	theirs, ours Run
	options      compare.Options
	result       *Result
}

func cellOf(m *pipelines.Manifest, system matrix.System) (pipelines.CellResult, bool) {
	for _, c := range m.Cells {
		if c.System == system {
			return c, true
		}
	}
	return pipelines.CellResult{}, false
}

func packageOf(cell pipelines.CellResult, name matrix.Package) pipelines.PackageResult {
	for _, p := range cell.Packages {
		if p.Package == name {
			return p
		}
	}
	return pipelines.PackageResult{Package: name}
}

// compare gives a package of the manifest its verdict. Cell is that of this run.
func (c *comparison) compare(ctx context.Context, cell pipelines.CellResult, a pipelines.PackageResult) (Package, error) {
	b := packageOf(cell, a.Package)
	p := Package{System: cell.System, Package: a.Package, DerivationA: a.Derivation, DerivationB: b.Derivation, Outputs: pairOutputs(a, b)}
	switch {
	case a.Derivation == "" && a.Failure == nil:
		return p.verdict(Unknown, "the manifest has no derivation of it: it was not evaluated there"), nil
	case b.Derivation == "" && b.Failure == nil:
		return p.verdict(Failed, "it was not evaluated: "+cell.Error), nil
	case a.Derivation == "" || b.Derivation == "":
		return p.outcome(a, b), nil
	case a.Derivation != b.Derivation:
		var err error
		p.Differences, err = c.whyOther(ctx, cell.System, a.Derivation, b.Derivation)
		return p.verdict(OtherDerivation, ""), err
	case a.Verdict == pipelines.Failed || b.Verdict == pipelines.Failed:
		return p.outcome(a, b), nil
	}
	return c.contents(ctx, p, a, b)
}

func (p Package) verdict(v Verdict, reason string) Package {
	p.Verdict, p.Reason = v, reason
	return p
}

// outcome is for packages that failed on one side or both.
func (p Package) outcome(a, b pipelines.PackageResult) Package {
	there, here := ended(a), ended(b)
	switch {
	case a.Verdict == pipelines.Failed && (a.Failure == nil || interrupted(a.Failure.Kind)):
		return p.verdict(Unknown, "the run of the manifest did not come to the end of it")
	case there == here:
		return p.verdict(SameFailure, here)
	case b.Failure != nil && !ofPackage(b.Failure.Kind), b.Verdict == pipelines.Failed && b.Failure == nil:
		return p.verdict(Failed, here)
	}
	return p.verdict(OtherOutcome, "there: "+there+"; here: "+here)
}

// interrupted says whether a kind of failure says nothing about the package: its build was stopped.
func interrupted(k pipelines.FailureKind) bool {
	return k == pipelines.Interrupted || k == pipelines.Unfinished
}

// ended says how a build ended, as far as that should be the same each time: kind, phase, exit code, and the dependency
// that failed.
func ended(p pipelines.PackageResult) string {
	switch {
	case p.Verdict != pipelines.Failed:
		return "built"
	case p.Failure == nil:
		return "not built"
	case p.Failure.Derivation != "":
		return p.Failure.Ending() + " of " + string(p.Failure.Derivation)
	}
	return p.Failure.Ending()
}

// ofPackage tells failures that are a package's own from those that befall it.
func ofPackage(k pipelines.FailureKind) bool {
	switch k {
	case pipelines.BuilderFailed, pipelines.OutputRefused, pipelines.HashMismatch, pipelines.NotReproducible, pipelines.DependencyFailed:
		return true
	}
	return false
}

func pairOutputs(a, b pipelines.PackageResult) []Output {
	var all []Output
	at := map[string]int{}
	for _, o := range a.Outputs {
		at[o.Name] = len(all)
		all = append(all, Output{Name: o.Name, PathA: o.Path, NARHashA: o.NARHash})
	}
	for _, o := range b.Outputs {
		i, ok := at[o.Name]
		if !ok {
			i = len(all)
			all = append(all, Output{Name: o.Name})
		}
		all[i].PathB, all[i].NARHashB = o.Path, o.NARHash
	}
	return all
}

// ofToday are checks that ask for the time or the network, and need not find the same tomorrow.
var ofToday = []string{"hashes/history", "lock/age", "nix-config/reported-keys"}

// checks compares what checks of the contract have found: their statuses, since reasons may name this machine.
func (c *comparison) checks(a, b []contract.Result) {
	isOfToday := func(r contract.Result) bool { return slices.Contains(ofToday, r.Check) }
	a, b = slices.DeleteFunc(slices.Clone(a), isOfToday), slices.DeleteFunc(slices.Clone(b), isOfToday)
	type key struct {
		system matrix.System
		check  string
	}
	ours := map[key]contract.Result{}
	for _, r := range b {
		ours[key{r.System, r.Check}] = r
	}
	for _, r := range a {
		c.result.Compared++
		other, ok := ours[key{r.System, r.Check}]
		delete(ours, key{r.System, r.Check})
		if !ok {
			c.result.Checks = append(c.result.Checks, Check{System: r.System, Check: r.Check, A: r.Status, Reason: "it was not made here"})
		} else if other.Status != r.Status {
			c.result.Checks = append(c.result.Checks, Check{System: r.System, Check: r.Check, A: r.Status, B: other.Status, Reason: other.Reason})
		}
	}
	for _, r := range b {
		if _, left := ours[key{r.System, r.Check}]; left {
			c.result.Compared++
			c.result.Checks = append(c.result.Checks, Check{System: r.System, Check: r.Check, B: r.Status, Reason: "it was not made there"})
		}
	}
}

// whyOther walks down two derivations to where they begin to differ.
func (c *comparison) whyOther(ctx context.Context, system matrix.System, a, b nix.StorePath) ([]drvdiff.Difference, error) {
	there, err := c.theirs.Derivations(ctx, system)
	if err != nil {
		return nil, err
	}
	here, err := c.ours.Derivations(ctx, system)
	if err != nil {
		return nil, err
	}
	all, err := drvdiff.Diff(ctx, drvdiff.Side{Name: "manifest", Root: a, Reader: there}, drvdiff.Side{Name: "here", Root: b, Reader: here})
	return all[:min(len(all), maxDifferences)], err
}
