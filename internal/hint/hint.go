// Package hint lets an error say what a person can do about it.
//
// An error names what went wrong; its hint names the command to run or the flag to set.
// Hints travel inside the error, and package ci alone prints them.
package hint

import (
	"errors"
	"fmt"
)

// Error is an error with advice. Its message is the cause's alone,
// so that advice is never printed twice nor mistaken for a cause.
type Error struct {
	Err  error
	Hint string
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error that the advice is for.
func (e *Error) Unwrap() error { return e.Err }

// Wrap returns err with advice, or nil where err is nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Err: err, Hint: fmt.Sprintf(format, args...)}
}

// Of returns all the hints in err's tree, outermost first and each once.
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
