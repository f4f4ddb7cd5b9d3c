package pipelines

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ConflictError says that a cache has other contents than ours under the same paths. It keeps its own, and so do we:
// what users got must not change, and it is not known here which of the two is right.
type ConflictError struct {
	System    matrix.System // empty where a push is about no system
	Cache     string
	Conflicts []run.Conflict
}

func (e *ConflictError) Error() string {
	first := e.Conflicts[0]
	text := fmt.Sprintf("%s has other contents: %s is %s there, and %s here", e.Cache, first.Path, first.Theirs, first.Ours) + run.InFiles(first.Files)
	if first.Theirs == first.Ours {
		text = fmt.Sprintf("%s has other references: %s refers to %v there, and to %v here",
			e.Cache, first.Path, first.References.Theirs, first.References.Ours)
	}
	if more := len(e.Conflicts) - 1; more > 0 {
		text += fmt.Sprintf("; and %s more", run.Count(more, "path"))
	}
	return text
}

// isConflict says whether all is good but for what a cache has.
func isConflict(err error) bool {
	var conflict *ConflictError
	return errors.As(err, &conflict)
}

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

// Outcome of a build that is good, and of which a cache has another.
func (e *ConflictError) Outcome() run.Outcome { return run.OutcomeDifferent }

// Outcome of a build that is good, and a cache that is not.
func (e *PublishError) Outcome() run.Outcome { return run.OutcomeUnpublished }

// PublishError says that what was built could not be published, and why. The build itself is good.
type PublishError struct {
	System matrix.System
	Cache  string
	Err    error
}

func (e *PublishError) Error() string { return fmt.Sprintf("publish to %s: %v", e.Cache, e.Err) }

// Unwrap returns the cause, for its hints.
func (e *PublishError) Unwrap() error { return e.Err }

// onlyPublishing says that nothing but publishing has failed.
func onlyPublishing(err error) bool {
	return only(err, func(err error) bool { _, ok := err.(*PublishError); return ok })
}

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

// unavailable says that a cache did not answer, which is no verdict about anything but the cache.
func unavailable(err error) bool {
	var u interface{ Unavailable() bool }
	return errors.As(err, &u) && u.Unavailable()
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

// isRebuildError says whether a build is good but for coming out differently a second time.
func isRebuildError(err error) bool {
	var broken *RebuildError
	return errors.As(err, &broken)
}
