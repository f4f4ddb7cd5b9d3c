// Package report shows a run on a terminal, in the log of a CI job, or to another program.
//
// All reporters consume the same events; see [run.Event]. None of them can fail a run: after an error in writing, a
// reporter stops writing, and Close returns the error. The summaries at the end of a run render the same view.
//
// The output of builds is untrusted, as is all text that is not from this program. [Output] cleans it: it removes escape
// sequences and control characters, and GitHub's runner executes no line of it as a command.
package report

import (
	"errors"
	"io"
	"time"

	"golang.org/x/term"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Options are common to Lines, Actions and Terminal. The zero value is quiet, without colours and in Unicode.
type Options struct {
	// Verbose prints each line of each build.
	Verbose bool
	// Color allows colours. The caller decides by the terminal and NO_COLOR.
	Color bool
	// ASCII restricts the output to ASCII, for a locale that is not UTF-8.
	ASCII bool
	// Size returns the columns and rows of the screen. Nil means those of the terminal.
	Size func() (columns, rows int)
}

// screenSize returns the size of the terminal w, or 80 by 24 if w is none.
func screenSize(w io.Writer) (columns, rows int) {
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}
	return 80, 24
}

// Multi passes each event to all of its reporters, in order.
type Multi []run.Reporter

func (m Multi) Report(at time.Time, e run.Event) {
	for _, r := range m {
		r.Report(at, e)
	}
}

// Close closes the reporters that can be closed, and returns their errors.
func (m Multi) Close() error {
	var errs []error
	for _, r := range m {
		if c, ok := r.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
