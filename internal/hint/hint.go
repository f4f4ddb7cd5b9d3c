// Package hint adds advice to errors.
//
// An error describes the problem; its hint names the command to run or the flag to set.
// Hints are parts of the error, and only package ci prints them.
package hint

import (
	"errors"
	"fmt"
)

// Error is an error with advice. Its message is that of the cause, without the advice.
type Error struct {
	Err  error
	Hint string
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without the advice.
func (e *Error) Unwrap() error { return e.Err }

// Wrap returns err with advice, or nil if err is nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Err: err, Hint: fmt.Sprintf(format, args...)}
}

// Of returns all hints in the tree of err, outermost first, without duplicates.
func Of(err error) []string {
	var hints []string
	seen := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if e, ok := err.(*Error); ok && !seen[e.Hint] {
			seen[e.Hint] = true
			hints = append(hints, e.Hint)
		}
		switch e := err.(type) {
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err)
			}
		default:
			if err := errors.Unwrap(err); err != nil {
				walk(err)
			}
		}
	}
	if err != nil {
		walk(err)
	}
	return hints
}
