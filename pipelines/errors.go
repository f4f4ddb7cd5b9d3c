package pipelines

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ContractError says which promises of a flake are broken.
type ContractError struct {
	System matrix.System // empty for those of the flake's files
	Broken []contract.Result
	Of     int // how many checks there were
}

func (e *ContractError) Error() string {
	return fmt.Sprintf("check contract: %d of %s failed, first %s", len(e.Broken), run.Count(e.Of, "check"), contract.Line(e.Broken[0]))
}

// Outcome of a promise that is broken, and no more than that.
func (e *ContractError) Outcome() run.Outcome { return run.OutcomeContract }

// Outcome of a build that is good, but for a second one.
func (e *RebuildError) Outcome() run.Outcome { return run.OutcomeDifferent }

// OnlyResults says that nothing failed but what the manifest says all of: the evaluation of single packages, builds and
// checks. No step of the run itself failed, such as an export, and nothing interrupted the run.
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

// only reports whether all errors that are joined in one are of a kind, or wrap one that is.
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

// RebuildError says which packages came out differently when they were built a second time.
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
