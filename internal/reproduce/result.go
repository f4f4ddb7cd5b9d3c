package reproduce

import (
	"errors"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Verdict is how a package compares, in one word or two.
type Verdict string

const (
	Pass            Verdict = "PASS"             // the same derivation, outputs and bits, built here
	SameFailure     Verdict = "SAME FAILURE"     // it fails in the same way as in the manifest
	OtherDerivation Verdict = "OTHER DERIVATION" // outputs of other derivations are not compared
	OtherContents   Verdict = "OTHER CONTENTS"   // of the same derivation, so it is not reproducible
	OtherOutcome    Verdict = "OTHER OUTCOME"    // it failed on one side only, or in another way
	Failed          Verdict = "FAILED"           // here, for a reason that is not the package's own
	Unknown         Verdict = "UNKNOWN"          // one of the runs has no result; it is not a pass
)

type Result struct {
	Manifest string `json:"manifest"`
	// Good is true if every package is the same or fails in the same way, and every check has the same status.
	Good bool `json:"good"`
	// Conditions are the engines, versions and settings that differ. They should not matter.
	Conditions []compare.Field `json:"conditions,omitempty"`
	Packages   []Package       `json:"packages"`
	// Checks are the contract's checks with another status.
	Checks   []Check `json:"checks,omitempty"`
	Compared int     `json:"comparedChecks"`
}

type Package struct {
	System  matrix.System  `json:"system"`
	Package matrix.Package `json:"package"`
	Verdict Verdict        `json:"verdict"`
	Reason  string         `json:"reason,omitempty"`
	// DerivationA is from the manifest, DerivationB from this run.
	DerivationA nix.StorePath `json:"derivationA,omitempty"`
	DerivationB nix.StorePath `json:"derivationB,omitempty"`
	Outputs     []Output      `json:"outputs,omitempty"`
	// Differences are the differences of the two derivations, the most likely cause first; at most [maxDifferences].
	Differences []drvdiff.Difference `json:"differences,omitempty"`
	// Contents compares the outputs whose contents differ, if both sides have them.
	Contents []*compare.Report `json:"contents,omitempty"`
}

// Output is an output on both sides. Values that a side does not have are empty.
type Output struct {
	Name     string        `json:"name"`
	PathA    nix.StorePath `json:"pathA,omitempty"`
	PathB    nix.StorePath `json:"pathB,omitempty"`
	NARHashA string        `json:"narHashA,omitempty"`
	NARHashB string        `json:"narHashB,omitempty"`
}

// Check is a check of the contract with another status. A status is empty if that run did not make the check.
type Check struct {
	System matrix.System   `json:"system,omitempty"`
	Check  string          `json:"check"`
	A      contract.Status `json:"a,omitempty"`
	B      contract.Status `json:"b,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// maxDifferences is how many differences of derivations a package has at most.
const maxDifferences = 50

// DifferenceError says that a run was not reproduced. It is a result, not a failure.
type DifferenceError struct {
	Manifest   string
	Differ, Of int // packages
	Checks     int
}

func (e *DifferenceError) Error() string {
	text := fmt.Sprintf("reproduce %s: ", e.Manifest)
	if e.Differ > 0 {
		text += fmt.Sprintf("%d of %s not the same", e.Differ, run.Count(e.Of, "package"))
	}
	if e.Checks > 0 {
		if e.Differ > 0 {
			text += ", and "
		}
		text += run.Count(e.Checks, "check") + " of the contract with another result"
	}
	return text
}

// Outcome of two runs that are not the same.
func (e *DifferenceError) Outcome() run.Outcome { return run.OutcomeDifferent }

// Err returns nil if everything is the same, and a [DifferenceError] if something differs. If a package failed here or is
// unknown, it returns another error.
func (r *Result) Err() error {
	counts := map[Verdict]int{}
	for _, p := range r.Packages {
		counts[p.Verdict]++
	}
	all := len(r.Packages)
	differ := counts[OtherDerivation] + counts[OtherContents] + counts[OtherOutcome]
	switch {
	case counts[Failed] > 0:
		return fmt.Errorf("reproduce %s: %d of %s failed here", r.Manifest, counts[Failed], run.Count(all, "package"))
	case differ+len(r.Checks) > 0:
		return &DifferenceError{Manifest: r.Manifest, Differ: differ, Of: all, Checks: len(r.Checks)}
	case counts[Unknown] > 0:
		return fmt.Errorf("reproduce %s: %d of %s are unknown", r.Manifest, counts[Unknown], run.Count(all, "package"))
	case all == 0:
		return errors.New("reproduce " + r.Manifest + ": it has no packages")
	}
	return nil
}
