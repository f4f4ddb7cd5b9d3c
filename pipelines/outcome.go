package pipelines

import (
	"context"
	"errors"
	"slices"
)

// Outcome is the end of a run in one word: the heaviest of all that went wrong. It says what the process exits with.
type Outcome string

// The outcomes, the heaviest last but one: a build that failed weighs more than an end by a signal, that more than a
// promise that is broken, that more than a build that is not reproducible, and that more than a cache that did not
// take what is good.
const (
	OutcomeGood        Outcome = "good"
	OutcomeUnpublished Outcome = "not published"
	OutcomeDifferent   Outcome = "not reproducible"
	OutcomeContract    Outcome = "contract broken"
	OutcomeInterrupted Outcome = "interrupted"
	OutcomeFailed      Outcome = "failed"
)

var byWeight = []Outcome{OutcomeGood, OutcomeUnpublished, OutcomeDifferent, OutcomeContract, OutcomeInterrupted, OutcomeFailed}

// Heavier returns the heavier of two outcomes. One that is not known weighs as much as a failure.
func (o Outcome) Heavier(other Outcome) Outcome {
	if !slices.Contains(byWeight, o) || !slices.Contains(byWeight, other) {
		return OutcomeFailed
	}
	if slices.Index(byWeight, other) > slices.Index(byWeight, o) {
		return other
	}
	return o
}

// Outcome of a promise that is broken, and no more than that.
func (e *ContractError) Outcome() Outcome { return OutcomeContract }

// Outcome of a build that is good, but for a second one.
func (e *RebuildError) Outcome() Outcome { return OutcomeDifferent }

// Outcome of a build that is good, and of which a cache has another.
func (e *ConflictError) Outcome() Outcome { return OutcomeDifferent }

// Outcome of a build that is good, and a cache that is not.
func (e *PublishError) Outcome() Outcome { return OutcomeUnpublished }

// OutcomeOf returns the heaviest outcome of all errors that are joined in one. An error that does not say its own, by
// a method Outcome, is that of what it wraps, or else a failure.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OutcomeGood
	}
	switch e := err.(type) {
	case interface{ Outcome() Outcome }:
		return e.Outcome()
	case interface{ Unwrap() []error }:
		outcome := OutcomeGood
		for _, child := range e.Unwrap() {
			outcome = outcome.Heavier(OutcomeOf(child))
		}
		return outcome
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return OutcomeOf(inner)
		}
	}
	return OutcomeFailed
}

// outcome is that of a run. A signal goes before whatever it has made fail.
func outcome(ctx context.Context, err error) Outcome {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return OutcomeInterrupted
	}
	return OutcomeOf(err)
}
