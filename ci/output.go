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

// output is standard output or standard error. It remembers the first write that failed. Commands do not check
// their writes: execute checks once, at the end.
type output struct {
	io.Writer
	name string
	// closed is called when the reader has closed its end. Further output is lost, so the run ends.
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

// join joins the first error with another, unless that contains it.
func (o *output) join(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil || errors.Is(err, o.err) {
		return err
	}
	return errors.Join(err, fmt.Errorf("write %s: %w", o.name, o.err))
}

// Fd returns the descriptor of the file, to ask for the size of a terminal; an invalid one if there is no file.
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
