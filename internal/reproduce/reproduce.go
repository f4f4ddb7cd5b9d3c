// Package reproduce compares a run with the manifest of an earlier run of the same flake. For each package it compares
// derivation, output paths and NAR hashes, and it compares the results of the contract's checks. It reports the reason of a
// difference: the input, option or attribute of a derivation, or the bytes of a file.
package reproduce

import (
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Run is one of the two runs, with its results.
type Run struct {
	Name     string
	Manifest *run.Manifest
	// Caches can have the contents of its outputs. The first one that has them is read.
	Caches      []run.NARHasher
	Derivations func(ctx context.Context, system matrix.System) (drvdiff.Reader, error)
}

// Compare compares the rebuilt run with the original, for the systems of the rebuilt one. An error means that the context
// is done or that results cannot be read. Everything else is a verdict.
func Compare(ctx context.Context, original, rebuilt Run) (*Result, error) {
	c := &comparison{original: original, rebuilt: rebuilt, result: &Result{
		Manifest: original.Name, Conditions: compare.Conditions(original.Manifest, rebuilt.Manifest),
	}}
	for _, cell := range rebuilt.Manifest.Cells {
		other, ok := original.Manifest.Cell(cell.System)
		if !ok {
			return nil, fmt.Errorf("reproduce %s: its manifest does not have system %s", original.Name, cell.System)
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
	c.checks(original.Manifest.Contract, rebuilt.Manifest.Contract)
	c.result.Good = c.result.Err() == nil
	return c.result, nil
}

type comparison struct {
	original, rebuilt Run
	result            *Result
}

func packageOf(cell run.CellResult, name matrix.Package) run.PackageResult {
	for _, p := range cell.Packages {
		if p.Package == name {
			return p
		}
	}
	return run.PackageResult{Package: name}
}

// compare returns the verdict of a package of the manifest. Cell is the result of this run.
func (c *comparison) compare(ctx context.Context, cell run.CellResult, a run.PackageResult) (Package, error) {
	b := packageOf(cell, a.Package)
	p := Package{System: cell.System, Package: a.Package, DerivationA: a.Derivation, DerivationB: b.Derivation, Outputs: pairOutputs(a, b)}
	switch {
	case a.Derivation == "" && a.Failure == nil:
		return p.verdict(Unknown, "the manifest has no derivation of it, because that run did not evaluate it"), nil
	case b.Derivation == "" && b.Failure == nil:
		return p.verdict(Failed, "it was not evaluated: "+cell.Error), nil
	case a.Derivation == "" || b.Derivation == "":
		return p.outcome(a, b), nil
	case a.Derivation != b.Derivation:
		var err error
		p.Differences, err = c.whyOther(ctx, cell.System, a.Derivation, b.Derivation)
		return p.verdict(OtherDerivation, ""), err
	case a.Verdict == run.Failed || b.Verdict == run.Failed:
		return p.outcome(a, b), nil
	}
	return c.contents(ctx, p, a, b)
}

func (p Package) verdict(v Verdict, reason string) Package {
	p.Verdict, p.Reason = v, reason
	return p
}

// outcome is the verdict of a package that failed on at least one side.
func (p Package) outcome(a, b run.PackageResult) Package {
	there, here := ended(a), ended(b)
	switch {
	case a.Verdict == run.Failed && (a.Failure == nil || interrupted(a.Failure.Kind)):
		return p.verdict(Unknown, "the run of the manifest stopped before its end")
	case there == here:
		return p.verdict(SameFailure, here)
	case b.Failure != nil && !ofPackage(b.Failure.Kind), b.Verdict == run.Failed && b.Failure == nil:
		return p.verdict(Failed, here)
	}
	return p.verdict(OtherOutcome, "manifest: "+there+"; here: "+here)
}

// interrupted reports whether a build was stopped from outside: that says nothing about the package.
func interrupted(k run.FailureKind) bool {
	return k == run.Interrupted || k == run.Unfinished
}

// ended describes the end of a build, as far as it is the same each time: kind, phase, exit code, failed dependency.
func ended(p run.PackageResult) string {
	switch {
	case p.Verdict != run.Failed:
		return "built"
	case p.Failure == nil:
		return "not built"
	case p.Failure.Derivation != "":
		return p.Failure.Ending() + " of " + string(p.Failure.Derivation)
	}
	return p.Failure.Ending()
}

// ofPackage reports whether a failure is the package's own, not one of the machine or the network.
func ofPackage(k run.FailureKind) bool {
	switch k {
	case run.BuilderFailed, run.OutputRefused, run.HashMismatch, run.NotReproducible, run.DependencyFailed:
		return true
	}
	return false
}

func pairOutputs(a, b run.PackageResult) []Output {
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

// ofToday are checks that depend on the time or the network: their results can change from day to day.
var ofToday = []string{"hashes/history", "lock/age", "nix-config/reported-keys"}

// checks compares the statuses of the contract's checks. Reasons can name this machine, so they are not compared.
func (c *comparison) checks(a, b []contract.Result) {
	isOfToday := func(r contract.Result) bool { return slices.Contains(ofToday, r.Check) }
	a, b = slices.DeleteFunc(slices.Clone(a), isOfToday), slices.DeleteFunc(slices.Clone(b), isOfToday)
	type key struct {
		system matrix.System
		check  string
	}
	open := map[key]contract.Result{}
	for _, r := range b {
		open[key{r.System, r.Check}] = r
	}
	for _, r := range a {
		c.result.Compared++
		other, ok := open[key{r.System, r.Check}]
		delete(open, key{r.System, r.Check})
		if !ok {
			c.result.Checks = append(c.result.Checks, Check{System: r.System, Check: r.Check, A: r.Status, Reason: "this run did not make this check"})
		} else if other.Status != r.Status {
			c.result.Checks = append(c.result.Checks, Check{System: r.System, Check: r.Check, A: r.Status, B: other.Status, Reason: other.Reason})
		}
	}
	for _, r := range b {
		if _, left := open[key{r.System, r.Check}]; left {
			c.result.Compared++
			c.result.Checks = append(c.result.Checks, Check{System: r.System, Check: r.Check, B: r.Status, Reason: "the run of the manifest did not make this check"})
		}
	}
}

func (c *comparison) whyOther(ctx context.Context, system matrix.System, a, b nix.StorePath) ([]drvdiff.Difference, error) {
	there, err := c.original.Derivations(ctx, system)
	if err != nil {
		return nil, err
	}
	here, err := c.rebuilt.Derivations(ctx, system)
	if err != nil {
		return nil, err
	}
	all, err := drvdiff.Diff(ctx, drvdiff.Side{Name: "manifest", Root: a, Reader: there}, drvdiff.Side{Name: "here", Root: b, Reader: here})
	return all[:min(len(all), maxDifferences)], err
}
