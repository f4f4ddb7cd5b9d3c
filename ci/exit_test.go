package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

// A flake can choose the message of its evaluation error.
func TestErrorsAreHarmless(t *testing.T) {
	err := errors.Join(
		errors.New("evaluate: \x1b[31mred\n::add-mask::x\n   3| ##[add-mask]y"),
		hint.Wrap(errors.New("second"), "leave out\r\n\u200b::stop-commands::z"),
	)
	var out bytes.Buffer
	cleaned := report.NewOutput(&out)
	printError(cleaned, "", err)
	if err := cleaned.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "error: evaluate: red\n> ::add-mask::x\n   3| ## [add-mask]y\nerror: second\nhint: leave out\n> ::stop-commands::z\n"
	if out.String() != want {
		t.Errorf("got\n%q, want\n%q", &out, want)
	}
}
