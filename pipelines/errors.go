package pipelines

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// BuildError says which packages of a cell were not built, and why.
type BuildError struct {
	System matrix.System
	// Failed are the packages without outputs.
	Failed []run.PackageResult
	// Mismatches are the fetches with a wrong hash, Downloads the failed downloads by reason.
	Mismatches []contract.Mismatch
	Downloads  []run.FailedDownloads
}

func (e *BuildError) Error() string {
	reasons := make([]string, len(e.Failed))
	for i, p := range e.Failed {
		reasons[i] = fmt.Sprintf("%s: %s", p.Package, p.Failure.Message)
		if p.Failure.Kind != run.BuilderFailed && p.Failure.Kind != run.UnknownFailure {
			reasons[i] = fmt.Sprintf("%s: %s: %s", p.Package, p.Failure.Kind, p.Failure.Message)
		}
	}
	for _, d := range e.Downloads {
		reasons = append(reasons, d.String())
	}
	return "build " + strings.Join(reasons, "; ")
}

// ContractError says which checks of a contract failed.
type ContractError struct {
	System matrix.System // empty for checks of the flake's files
	Broken []contract.Result
	Of     int // the number of checks
}

func (e *ContractError) Error() string {
	return fmt.Sprintf("check contract: %d of %s failed, first %s", len(e.Broken), run.Count(e.Of, "check"), contract.Line(e.Broken[0]))
}

// Outcome of a build that is good, and violates the contract.
func (e *ContractError) Outcome() run.Outcome { return run.OutcomeContract }

// RebuildError says which packages differ in a second build.
type RebuildError struct {
	System matrix.System
	Failed []run.PackageResult
}

func (e *RebuildError) Error() string {
	reasons := make([]string, len(e.Failed))
	for i, p := range e.Failed {
		reasons[i] = fmt.Sprintf("%s: %s", p.Package, p.Difference)
	}
	return "rebuild " + strings.Join(reasons, "; ")
}

// Outcome of a build that is good, and differs from a second one.
func (e *RebuildError) Outcome() run.Outcome { return run.OutcomeDifferent }

// OnlyResults reports whether an error has only failures that the manifest describes completely: evaluation of single
// packages, builds and checks. Then no other step failed, such as an export, and nothing interrupted the run.
func OnlyResults(err error) bool {
	return err == nil || only(err, func(err error) bool {
		switch err := err.(type) {
		case *EvaluationError:
			return len(err.Failed) > 0
		case *BuildError, *ContractError, *RebuildError:
			return true
		}
		return false
	})
}

// only reports whether all joined errors are of a kind, or wrap one that is.
func only(err error, isKind func(error) bool) bool {
	if isKind(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(child error) bool { return !only(child, isKind) })
	case interface{ Unwrap() error }:
		return e.Unwrap() != nil && only(e.Unwrap(), isKind)
	}
	return false
}
