package main

import (
	"io"
	"strings"

	"golang.org/x/term"

	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

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

// newReporter chooses the form of the events: JSON, the log of GitHub Actions, a terminal, or lines of text.
func newReporter(sys process, o outputOptions) reporter {
	env := environment(sys.environ)
	opts := report.Options{Verbose: o.verbose, ASCII: !isUTF8(env), Now: sys.now}
	actions := github{env}
	switch {
	case o.json && actions.here():
		return report.Multi{report.NewJSON(sys.stdout), actions.stepFiles(sys.stderr, o.summary)}
	case o.json:
		return report.NewJSON(sys.stdout)
	case actions.here():
		return report.Multi{report.NewActions(sys.stderr, opts), actions.stepFiles(sys.stderr, o.summary)}
	case isTerminal(sys.stderr) && env.get("TERM") != "dumb":
		opts.Color = env.get("NO_COLOR") == ""
		return report.NewTerminal(sys.stderr, opts)
	}
	return report.NewLines(sys.stderr, opts)
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
