package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// A flake can choose the message of its evaluation error.
func TestErrorsAreHarmless(t *testing.T) {
	err := errors.Join(
		errors.New("evaluate: \x1b[31mred\n::add-mask::x\n   3| ##[add-mask]y"),
		hint.Wrap(errors.New("second"), "leave out\r\n\u200b::stop-commands::z"),
	)
	var out bytes.Buffer
	cleaned := report.NewOutput(&out)
	printError(cleaned, "", true, err)
	if err := cleaned.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "error: evaluate: red\n> ::add-mask::x\n   3| ## [add-mask]y\nerror: second\nhint: leave out\n> ::stop-commands::z\n"
	if out.String() != want {
		t.Errorf("got\n%q, want\n%q", &out, want)
	}
}

// The line of a step that has failed has the reason. The error at the end of the run names the step.
func TestAReasonIsPrintedOnce(t *testing.T) {
	step := func(step run.Step, err error) error { return &run.StepError{Step: step, Err: err} }
	err := errors.Join(
		fmt.Errorf("x86_64-linux: %w", step(run.StepPreflight, hint.Wrap(errors.New("no emulator"), "install one"))),
		step(run.StepSnapshot, errors.New("no tree")),
		errors.New("close log: disk full"),
	)
	for shown, want := range map[bool]string{
		true:  "error: x86_64-linux: preflight failed\nerror: snapshot failed\nerror: close log: disk full\nhint: install one\n",
		false: "error: x86_64-linux: no emulator\nerror: no tree\nerror: close log: disk full\nhint: install one\n",
	} {
		var out bytes.Buffer
		printError(&out, "", shown, err)
		if out.String() != want {
			t.Errorf("shown %t: got\n%swant\n%s", shown, &out, want)
		}
	}
}
