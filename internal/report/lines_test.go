package report_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

func TestLines(t *testing.T) {
	for _, test := range []struct {
		file string
		opts report.Options
	}{
		{"lines.txt", report.Options{}},
		{"lines-verbose.txt", report.Options{Verbose: true}},
		{"lines-color.txt", report.Options{Color: true}},
		{"lines-ascii.txt", report.Options{ASCII: true}},
	} {
		t.Run(test.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				l := report.NewLines(&out, test.opts)
				newTape(recorded()).play(l, time.Hour)
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				golden(t, test.file, out.Bytes())
			})
		})
	}
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out shared
		l := report.NewLines(&out, report.Options{})
		defer l.Close()
		start := time.Now()
		beats := func(at time.Duration, want int) {
			t.Helper()
			time.Sleep(at - time.Since(start))
			synctest.Wait()
			if got := strings.Count(out.String(), "running, openssl-3.4.0 (build "); got != want {
				t.Errorf("%d heartbeats after %s, want %d:\n%s", got, at, want, &out)
			}
		}
		l.Report(start, run.StepStarted{Step: run.StepBuild, System: arm})
		l.Report(start, run.BuildStarted{System: arm, Derivation: openssl})
		l.Report(start, run.BuildPhase{System: arm, Derivation: openssl, Phase: "buildPhase"})
		beats(29*time.Second+500*time.Millisecond, 0)
		beats(31*time.Second, 1)
		l.Report(time.Now(), run.Notice{Level: run.Info, Text: "still here"})
		beats(60*time.Second, 1) // since there was other output in between
		beats(62*time.Second, 2)
		beats(92*time.Second+500*time.Millisecond, 3)
		l.Report(time.Now(), run.StepFinished{Step: run.StepBuild, System: arm})
		beats(time.Hour, 3)
	})
}

func TestFailureIsOneWrite(t *testing.T) {
	w := &broken{takes: 1}
	l := report.NewLines(w, report.Options{})
	l.Report(time.Now(), run.BuildFinished{
		System: arm, Derivation: desktop, Failure: failure(), Tail: []string{"one", "two"}, Log: "desktop.log",
	})
	for _, want := range []string{"failed     aarch64-linux", "in checkPhase, exit code 101\n", "│ one\n", "│ two\n", "log: desktop.log\n"} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("no %q in\n%s", want, w)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("took more than one write: %v", err)
	}
}

func TestLinesRemembersWriteError(t *testing.T) {
	l := report.NewLines(&broken{}, report.Options{})
	l.Report(time.Now(), run.Notice{Text: "lost"})
	for range 2 {
		if err := l.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("error is %v", err)
		}
	}
}

// Nix names no derivation for some builds that it hands to another machine.
func TestNamelessDerivation(t *testing.T) {
	var out bytes.Buffer
	l := report.NewLines(&out, report.Options{})
	l.Report(time.Now(), run.BuildFinished{System: x86})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if !strings.HasSuffix(out.String(), "  unknown derivation\n") {
		t.Errorf("got %q", out.String())
	}
}

// The output of a build cannot move the cursor, forge a line or change the direction of text.
func TestUntrustedText(t *testing.T) {
	for text, want := range map[string]string{
		"\x1b[2J\x1b]0;title\x07plain":    "plain",
		"tabs\tstay":                      "tabs\tstay",
		" 10%\r 50%\r100%":                "100%",
		"dos line\r\n":                    "dos line",
		"forged\n✔ build  all is well":    "forged ✔ build  all is well",
		"evil \u202egnitset\u202c\u200b.": "evil gnitset.",
		"\u009b31mC1 \x9b2J \b\b\x00\x7f": "31mC1 2J ",
	} {
		var out bytes.Buffer
		l := report.NewLines(&out, report.Options{Verbose: true})
		l.Report(time.Now(), run.BuildLine{System: x86, Derivation: openssl, Text: text})
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if want := "x86_64-linux/openssl-3.4.0> " + want + "\n"; out.String() != want {
			t.Errorf("%q:\n-want %q\n+got  %q", text, want, out.String())
		}
	}
}
