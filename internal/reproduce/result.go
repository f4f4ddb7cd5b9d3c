package reproduce

import (
	"errors"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// Verdict is how a package compares, in one word or two.
type Verdict string

// The verdicts.
const (
	Pass            Verdict = "PASS"             // the same derivation, outputs and bits, built here
	SameFailure     Verdict = "SAME FAILURE"     // it failed there, and fails here in the same way
	OtherDerivation Verdict = "OTHER DERIVATION" // so that nothing else was to be expected
	OtherContents   Verdict = "OTHER CONTENTS"   // of the same derivation: it is not reproducible
	OtherOutcome    Verdict = "OTHER OUTCOME"    // it failed on one side, or in another way
	Failed          Verdict = "FAILED"           // here, and for a reason that says nothing of the package
	Unknown         Verdict = "UNKNOWN"          // one of the two runs does not say; it never counts as a pass
)

// Result is the comparison of two runs.
type Result struct {
	Manifest string `json:"manifest"`
	// Good says that every package is the same or fails in the same way, and that every check found the same.
	Good bool `json:"good"`
	// Conditions are those under which the runs were made, as far as they differ. None of them should matter.
	Conditions []compare.Field `json:"conditions,omitempty"`
	Packages   []Package       `json:"packages"`
	// Checks are those of the contract that found something else.
	Checks []Check `json:"checks,omitempty"`
	// Compared is how many checks of the contract there were to compare.
	Compared int `json:"comparedChecks"`
}

// Package is a package of a system.
type Package struct {
	System  matrix.System  `json:"system"`
	Package matrix.Package `json:"package"`
	Verdict Verdict        `json:"verdict"`
	Reason  string         `json:"reason,omitempty"`
	// DerivationA is that of the manifest, DerivationB that of this run.
	DerivationA nix.StorePath `json:"derivationA,omitempty"`
	DerivationB nix.StorePath `json:"derivationB,omitempty"`
	Outputs     []Output      `json:"outputs,omitempty"`
	// Differences are in what two derivations differ, the most likely cause first; at most [maxDifferences].
	Differences []drvdiff.Difference `json:"differences,omitempty"`
	// Contents are the outputs whose contents differ, where both are to be had.
	Contents []*compare.Report `json:"contents,omitempty"`
}

// Output is an output on both sides; what one of them does not have is empty.
type Output struct {
	Name     string        `json:"name"`
	PathA    nix.StorePath `json:"pathA,omitempty"`
	PathB    nix.StorePath `json:"pathB,omitempty"`
	NARHashA string        `json:"narHashA,omitempty"`
	NARHashB string        `json:"narHashB,omitempty"`
}

// Check is a check of the contract that found something else; a status is empty where there was no such check.
type Check struct {
	System matrix.System   `json:"system,omitempty"`
	Check  string          `json:"check"`
	A      contract.Status `json:"a,omitempty"`
	B      contract.Status `json:"b,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// maxDifferences is how many differences of derivations are kept of a package.
const maxDifferences = 50

// DifferenceError says that a run was not reproduced. It is a result, and no failure.
type DifferenceError struct {
	Manifest   string
	Differ, Of int // packages
	Checks     int
}

func (e *DifferenceError) Error() string {
	text := fmt.Sprintf("reproduce %s: ", e.Manifest)
	if e.Differ > 0 {
		text += fmt.Sprintf("%d of %s not the same", e.Differ, count(e.Of, "package"))
	}
	if e.Checks > 0 {
		if e.Differ > 0 {
			text += ", and "
		}
		text += count(e.Checks, "check") + " of the contract found something else"
	}
	return text
}

// Outcome of two runs that are not the same.
func (e *DifferenceError) Outcome() pipelines.Outcome { return pipelines.OutcomeDifferent }

// Err returns nil where all is the same. It is a [DifferenceError] where something differs and nothing has failed, and
// another error where packages failed here, or nothing can be said of them.
func (r *Result) Err() error {
	counts := map[Verdict]int{}
	for _, p := range r.Packages {
		counts[p.Verdict]++
	}
	all := len(r.Packages)
	differ := counts[OtherDerivation] + counts[OtherContents] + counts[OtherOutcome]
	switch {
	case counts[Failed] > 0:
		return fmt.Errorf("reproduce %s: %d of %s failed here", r.Manifest, counts[Failed], count(all, "package"))
	case differ+len(r.Checks) > 0:
		return &DifferenceError{Manifest: r.Manifest, Differ: differ, Of: all, Checks: len(r.Checks)}
	case counts[Unknown] > 0:
		return fmt.Errorf("reproduce %s: of %d of %s nothing can be said", r.Manifest, counts[Unknown], count(all, "package"))
	case all == 0:
		return errors.New("reproduce " + r.Manifest + ": it has no packages")
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
