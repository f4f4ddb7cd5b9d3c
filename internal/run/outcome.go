package run

import (
	"context"
	"errors"
	"slices"
)

// OutcomeError is the outcome of a run of another process.
type OutcomeError struct {
	Text string
	End  Outcome
}

func (e *OutcomeError) Error() string { return e.Text }

// Outcome returns the outcome of that run.
func (e *OutcomeError) Outcome() Outcome { return e.End }

// Outcome is the result of a run in one word: the most severe of all that went wrong. It decides the exit code.
type Outcome string

// The outcomes, in order of increasing severity.
const (
	OutcomeGood        Outcome = "good"
	OutcomeUnpublished Outcome = "not published"
	OutcomeDifferent   Outcome = "not reproducible"
	OutcomeContract    Outcome = "contract broken"
	OutcomeInterrupted Outcome = "interrupted"
	OutcomeFailed      Outcome = "failed"
)

var bySeverity = []Outcome{OutcomeGood, OutcomeUnpublished, OutcomeDifferent, OutcomeContract, OutcomeInterrupted, OutcomeFailed}

// Worst returns the more severe of two outcomes. An unknown outcome is as severe as a failure.
func (o Outcome) Worst(other Outcome) Outcome {
	if !slices.Contains(bySeverity, o) || !slices.Contains(bySeverity, other) {
		return OutcomeFailed
	}
	if slices.Index(bySeverity, other) > slices.Index(bySeverity, o) {
		return other
	}
	return o
}

// OutcomeOf returns the most severe outcome of all joined errors. An error with a method Outcome has that outcome; any
// other has the outcome of the error that it wraps, or is a failure.
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
			outcome = outcome.Worst(OutcomeOf(child))
		}
		return outcome
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return OutcomeOf(inner)
		}
	}
	return OutcomeFailed
}

// OutcomeOfRun returns the outcome of a run. An interrupt takes precedence over the errors that it caused.
func OutcomeOfRun(ctx context.Context, err error) Outcome {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return OutcomeInterrupted
	}
	return OutcomeOf(err)
}
