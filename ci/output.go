package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
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

// reporter is a reporter that can be closed.
type reporter interface {
	run.Reporter
	Close() error
}

// outputOptions say how a run is shown.
type outputOptions struct {
	json, verbose, summary bool
	since                  string
}

func (o *outputOptions) register(s *pflag.FlagSet) {
	s.BoolVar(&o.json, "json", false, "events as JSON lines on standard output")
	s.BoolVar(&o.summary, "summary", true, "on GitHub Actions, write a summary of the step")
	s.StringVar(&o.since, "since", "", sinceUsage)
}

// pasteable is a reporter whose hints name the program as it was called.
type pasteable struct {
	reporter
	program string
}

func (p pasteable) Report(at time.Time, e run.Event) {
	if notice, ok := e.(run.Notice); ok {
		notice.Hint = hint.For(p.program, notice.Hint)
		e = notice
	}
	p.reporter.Report(at, e)
}

func newReporter(process process, o outputOptions) reporter {
	return pasteable{formOf(process, o), process.program}
}

// formOf chooses the form of the events: JSON, the log of GitHub Actions, a terminal, or lines of text.
func formOf(process process, o outputOptions) reporter {
	env := process.environ
	opts := report.Options{Verbose: o.verbose, ASCII: !isUTF8(env)}
	job := process.job()
	switch {
	case o.json && job.Here():
		return report.Multi{report.NewJSON(process.stdout), stepFiles(job, process.stderr, o.summary)}
	case o.json:
		return report.NewJSON(process.stdout)
	case job.Here():
		return report.Multi{report.NewActions(process.stderr, opts), stepFiles(job, process.stderr, o.summary)}
	case isTerminal(process.stderr) && env.get("TERM") != "dumb":
		opts.Color = env.get("NO_COLOR") == ""
		return report.NewTerminal(process.stderr, opts)
	}
	return report.NewLines(process.stderr, opts)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// isUTF8 reads the locale as the C library does: the first of these that is set counts.
func isUTF8(env environment) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToUpper(env.get(name)); v != "" {
			return strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8")
		}
	}
	return false
}
