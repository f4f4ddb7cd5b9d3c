package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"text/tabwriter"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

// output is standard output or standard error. It remembers the first write that failed, so that no command has to
// check each of its own writes: run does once, at the end.
type output struct {
	io.Writer
	name string
	// closed is called when the reader has gone away. What is written then is lost, so the run ends.
	closed func(error)

	mu  sync.Mutex
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil {
		o.fail(err)
	}
	return n, err
}

func (o *output) fail(err error) {
	o.mu.Lock()
	first := o.err == nil
	if first {
		o.err = err
	}
	o.mu.Unlock()
	if first && errors.Is(err, syscall.EPIPE) {
		o.closed(fmt.Errorf("write %s: %w", o.name, err))
	}
}

// writeJSON writes a value as a document of JSON.
func writeJSON(w io.Writer, value any) error { return report.WriteJSON(w, value) }

// join adds the first error to another, unless it is a part of that already.
func (o *output) join(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil || errors.Is(err, o.err) {
		return err
	}
	return errors.Join(err, fmt.Errorf("write %s: %w", o.name, o.err))
}

// Fd is the descriptor of the file behind it, by which a terminal's size is asked for; no valid one where there is none.
func (o *output) Fd() uintptr {
	if f, ok := o.Writer.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// table writes rows with aligned columns.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// row writes a row. Write errors are those of Flush.
func (t table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t, "\t")
		}
		fmt.Fprint(t, cell)
	}
	fmt.Fprintln(t)
}
