package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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

const exitCodes = `  0    success
  1    a build, or anything else, failed
  2    the command line is wrong, or the event that started the run does not allow it
  3    a second build differs, or what was compared differs; nothing else failed
  4    the flake does not satisfy its contract; nothing else failed
  5    the build is good, but it could not be published
  130  interrupted by a signal, or by a closed standard output or standard error`

// usageError is an error of the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// exitCode maps an error to the code of the process. An interrupt takes precedence over the errors that it caused.
func exitCode(ctx context.Context, err error) int {
	switch _, wrong := errors.AsType[usageError](err); {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		return exitInterrupted
	case wrong:
		return exitUsage
	}
	return codeOf(err)
}

// codes has the exit codes of the outcomes of a run.
var codes = map[run.Outcome]int{
	run.OutcomeGood: exitOK, run.OutcomeFailed: exitFailed, run.OutcomeDifferent: exitDifferent,
	run.OutcomeContract: exitContract, run.OutcomeUnpublished: exitPublish, run.OutcomeInterrupted: exitInterrupted,
}

// codeOf returns the code of the most severe of the joined errors.
func codeOf(err error) int {
	if code, known := codes[run.OutcomeOf(err)]; known {
		return code
	}
	return exitFailed
}

// printError prints an error and its hints, whose commands begin with program. Shown is whether the steps of the run were
// printed: their ends have the reasons.
func printError(w io.Writer, program string, shown bool, err error) {
	if err == nil {
		return
	}
	for _, e := range split(err) {
		text := e.Error()
		if step, ok := errors.AsType[*run.StepError](e); ok && shown {
			text = strings.TrimSuffix(text, step.Error()) + string(step.Step) + " failed"
		}
		fmt.Fprintf(w, "error: %s\n", text)
	}
	for _, h := range hint.Of(err) {
		fmt.Fprintf(w, "hint: %s\n", hint.For(program, h))
	}
}

// split returns the errors that errors.Join joined.
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
