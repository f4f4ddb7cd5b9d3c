package report_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

func TestTerminal(t *testing.T) {
	for _, test := range []struct {
		file    string
		columns int
		opts    report.Options
	}{
		{"terminal-80.txt", 80, report.Options{}},
		{"terminal-120.txt", 120, report.Options{Color: true}},
		{"terminal-ascii.txt", 80, report.Options{ASCII: true}},
	} {
		t.Run(test.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScreen(test.columns, 24)
				test.opts.Size = s.size
				r := report.NewTerminal(s, test.opts)
				defer r.Close()
				var got strings.Builder
				recording := newTape(recorded())
				for _, seconds := range []float64{0.1, 26, 62.5, 141, 272.5, 700, 741, 742} {
					recording.play(r, at(seconds)+150*time.Millisecond)
					synctest.Wait()
					fmt.Fprintf(&got, "=== after %gs\n%s", seconds, s.text())
				}
				golden(t, test.file, []byte(got.String()))
			})
		})
	}
}

// A status line that filled the screen would wrap on some terminals, and could not be erased again.
func TestStatusFitsTheScreen(t *testing.T) {
	for columns := 3; columns < 130; columns++ {
		synctest.Test(t, func(t *testing.T) {
			s := newScreen(columns, 4)
			r := report.NewTerminal(s, report.Options{Size: s.size})
			defer r.Close()
			r.Report(time.Now(), run.StepStarted{Step: run.StepBuild, System: x86})
			for _, phase := range []string{"checkPhase", "階段\tPhase", "\x1b[5mblink"} {
				r.Report(time.Now(), run.BuildStarted{System: x86, Derivation: desktop})
				r.Report(time.Now(), run.BuildPhase{System: x86, Derivation: desktop, Phase: phase})
				time.Sleep(time.Second)
				synctest.Wait()
				if n := utf8.RuneCountInString(strings.TrimRight(s.text(), "\n")); n >= columns {
					t.Errorf("%d columns are too few for %q", columns, s.text())
				}
				if strings.ContainsAny(s.text(), "階\t") {
					t.Errorf("the width of %q is unknown", s.text())
				}
			}
		})
	}
}

// At the end, the screen has the text that Lines would write, and the cursor is visible.
func TestTerminalLeavesTheScreenAsALog(t *testing.T) {
	for _, until := range []time.Duration{0, at(30), at(500), at(742)} {
		synctest.Test(t, func(t *testing.T) {
			s, want := newScreen(200, 100), &shared{}
			r, l := report.NewTerminal(s, report.Options{Size: s.size}), report.NewLines(want, report.Options{})
			newTape(recorded()).play(report.Multi{r, withoutHeartbeat{l}}, until)
			if err := errors.Join(r.Close(), r.Close(), l.Close()); err != nil {
				t.Error(err)
			}
			var log strings.Builder
			for line := range strings.Lines(want.String()) {
				if !strings.HasPrefix(line, "· ") {
					log.WriteString(line)
				}
			}
			if s.text() != log.String() {
				t.Errorf("after %s the screen holds\n%s\nwant\n%s", until, s.text(), log.String())
			}
			if !s.cursor {
				t.Error("the cursor is hidden")
			}
		})
	}
}

// withoutHeartbeat removes the heartbeats, which a terminal does not have.
type withoutHeartbeat struct{ run.Reporter }

func TestTerminalSurvivesResizing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(120, 40)
		r := report.NewTerminal(s, report.Options{Size: s.size})
		newTape(recorded()).play(r, at(200))
		for _, columns := range []int{60, 41, 100, 20, 1, 120} {
			s.resize(columns)
			time.Sleep(time.Second)
			synctest.Wait()
			if n := strings.Count(s.text(), "x86_64-linux"[:min(columns, 12)]); columns > 40 && n == 0 {
				t.Errorf("no status in %d columns", columns)
			}
		}
		if n := strings.Count(s.text(), "build 0/3"); n != 1 {
			t.Errorf("%d lines of status are on the screen, want 1:\n%s", n, s.text())
		}
		r.Close()
		if strings.Contains(s.text(), "build 0/3") {
			t.Errorf("the status stays on the screen:\n%s", s.text())
		}
	})
}

func TestTerminalDrawsTenTimesASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		r := report.NewTerminal(s, report.Options{Verbose: true, Size: s.size})
		r.Report(time.Now(), run.StepStarted{Step: run.StepBuild, System: x86})
		for range 1000 {
			time.Sleep(time.Millisecond)
			r.Report(time.Now(), run.BuildLine{System: x86, Derivation: openssl, Text: "line"})
		}
		r.Close()
		if s.writes > 12 {
			t.Errorf("%d writes in a second", s.writes)
		}
	})
}

func TestTerminalIsStillWhenNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		r := report.NewTerminal(s, report.Options{Size: s.size})
		time.Sleep(time.Minute)
		r.Close()
		if s.writes != 0 {
			t.Errorf("%d writes, want none", s.writes)
		}
	})
}

func TestTerminalShowsTheCursorAfterAWriteError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		r := report.NewTerminal(s, report.Options{Size: s.size})
		r.Report(time.Now(), run.StepStarted{Step: run.StepBuild, System: x86})
		time.Sleep(time.Second)
		s.fail(1)
		time.Sleep(time.Second)
		if err := r.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("error is %v", err)
		}
		if !s.cursor {
			t.Error("the cursor is hidden")
		}
	})
}
