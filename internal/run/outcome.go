package run

import (
	"context"
	"errors"
	"slices"
)

// OutcomeError says how a run has ended that was another process.
type OutcomeError struct {
	Text string
	End  Outcome
}

func (e *OutcomeError) Error() string { return e.Text }

// Outcome returns how it has ended.
func (e *OutcomeError) Outcome() Outcome { return e.End }

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

// OutcomeOfRun is that of a run. A signal goes before whatever it has made fail.
func OutcomeOfRun(ctx context.Context, err error) Outcome {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return OutcomeInterrupted
	}
	return OutcomeOf(err)
}
