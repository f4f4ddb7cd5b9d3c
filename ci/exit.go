package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Exit codes, as --help documents them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDifferent   = 3
	exitContract    = 4
	exitPublish     = 5
	exitInterrupted = 130
)

const exitCodes = `  0    all went well
  1    a build, or anything else, failed
  2    the command line is wrong, or the run was refused for what has started it
  3    nothing failed but a second build was not the same, or what was compared differs
  4    nothing failed but promises of the flake are broken
  5    what was built is good, and could not be published
  130  interrupted: by a signal, or because the reader of standard output or standard error went away`

// usageError is a command line that cannot be carried out.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// exitCode maps an error to the code of the process. A signal goes before whatever it has made fail.
func exitCode(ctx context.Context, err error) int {
	var wrong usageError
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &wrong):
		return exitUsage
	}
	return codeOf(err)
}

// codes are those of the outcomes of a run.
var codes = map[run.Outcome]int{
	run.OutcomeGood: exitOK, run.OutcomeFailed: exitFailed, run.OutcomeDifferent: exitDifferent,
	run.OutcomeContract: exitContract, run.OutcomeUnpublished: exitPublish, run.OutcomeInterrupted: exitInterrupted,
}

// codeOf returns the code of the heaviest of all errors that are joined in one.
func codeOf(err error) int {
	if code, known := codes[run.OutcomeOf(err)]; known {
		return code
	}
	return exitFailed
}

// printError tells a person what went wrong, and what to do about it.
func printError(w io.Writer, err error) {
	if err == nil {
		return
	}
	for _, e := range split(err) {
		fmt.Fprintf(w, "error: %v\n", e)
	}
	for _, h := range hint.Of(err) {
		fmt.Fprintf(w, "hint: %s\n", h)
	}
}

// split returns the errors that errors.Join has joined, each on its own. Their hints are printed after them.
func split(err error) []error {
	if hinted, ok := err.(*hint.Error); ok {
		return split(hinted.Err)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, split(e)...)
	}
	return all
}
