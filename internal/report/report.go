// Package report shows a run to those who watch it: a person at a terminal, the log of a CI job, a program.
//
// Every reporter consumes the same events; see [run.Event]. None of them can fail a run:
// an error in writing is remembered, writing stops, and Close returns the error.
//
// What builds print is untrusted, and so is any text that is not the program's own. [Output] cleans it: no escape sequence
// and no control character of it reaches a screen, and GitHub's runner takes no line of it for a command.
package report

import (
	"errors"
	"io"
	"time"

	"golang.org/x/term"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Options are what the reporters for people have in common. The zero value is quiet, without colours and in Unicode.
type Options struct {
	// Verbose prints each line of each build as it comes.
	Verbose bool
	// Color allows colours. It is for the caller to know whether there is a terminal, and NO_COLOR.
	Color bool
	// ASCII keeps to ASCII, for a locale that is not UTF-8.
	ASCII bool
	// Size returns the columns and rows of the screen. Nil asks the terminal that is written to.
	Size func() (columns, rows int)
	// Now and Tick are the clock. Nil is [time.Now] and [time.Tick].
	Now  func() time.Time
	Tick func(time.Duration) <-chan time.Time
}

func (o Options) withDefaults(w io.Writer) Options {
	if o.Size == nil {
		o.Size = func() (int, int) { return screenSize(w) }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tick == nil {
		o.Tick = time.Tick
	}
	return o
}

// screenSize returns the size of the terminal behind w, or that of the classic one where there is none.
func screenSize(w io.Writer) (columns, rows int) {
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}
	return 80, 24
}

// Multi hands each event to all of its reporters, in their order.
type Multi []run.Reporter

// Report hands e to all.
func (m Multi) Report(at time.Time, e run.Event) {
	for _, r := range m {
		r.Report(at, e)
	}
}

// Close ends those that have an end, and returns their errors.
func (m Multi) Close() error {
	var errs []error
	for _, r := range m {
		if c, ok := r.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
