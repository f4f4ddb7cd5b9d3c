package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// interruptedRun is a run with two builds that a signal cancels.
func interruptedRun() []run.Event {
	const cause = "interrupt signal received"
	f := &run.Failure{Kind: run.Interrupted, Message: cause, Phase: "checkPhase"}
	outputs := []run.Output{{Name: "out", Path: "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-out"}}
	return []run.Event{
		run.RunStarted{ID: "1", Flake: "f", Cells: []matrix.Cell{{System: x86, Packages: []matrix.Package{"a", "b"}}}},
		run.StepStarted{Step: run.StepBuild, System: x86},
		run.BuildFinished{System: x86, Derivation: headless, Failure: f, Log: "logs/a.log", Tail: []string{"last line of a"}},
		run.BuildFinished{System: x86, Derivation: desktop, Failure: f, Log: "logs/b.log", Tail: []string{"last line of b"}},
		run.StepFinished{Step: run.StepBuild, System: x86, Seconds: 5, Error: "build: " + cause, Interrupted: true},
		run.RunFinished{Seconds: 6, Manifest: &run.Manifest{Outcome: run.OutcomeInterrupted, Cells: []run.CellResult{{
			System: x86, Verdict: run.Failed, Error: "build: " + cause, Seconds: 5, Packages: []run.PackageResult{
				{Package: "a", Verdict: run.Failed, Failure: f, Derivation: headless, Outputs: outputs, Log: "a.log"},
				{Package: "b", Verdict: run.Failed, Failure: f, Derivation: desktop, Outputs: outputs, Log: "b.log"},
			},
		}}}},
	}
}

func TestInterruptedRunIsAFewLines(t *testing.T) {
	const want = `run 1 of f
  x86_64-linux   a, b
✘ build      x86_64-linux     5.0s  interrupted: interrupt signal received
  cancelled: open-sesame-0.4.2, open-sesame-desktop-0.4.2

x86_64-linux: cancelled in 5.0s
  no engine, sandbox: not tried, emulated: no
  ✘ a  interrupted
  ✘ b  interrupted

✘ 0 of 2 packages good, in 6.0s
`
	var lines, actions bytes.Buffer
	l, a := report.NewLines(&lines, report.Options{}), report.NewActions(&actions, report.Options{})
	for _, e := range interruptedRun() {
		l.Report(time.Time{}, e)
		a.Report(time.Time{}, e)
	}
	for _, err := range []error{l.Close(), a.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
	if lines.String() != want {
		t.Errorf("lines\n%s\nwant\n%s", &lines, want)
	}
	for _, unwanted := range []string{"::error", "last line", "failed"} {
		if strings.Contains(actions.String(), unwanted) {
			t.Errorf("the log of the job has %q:\n%s", unwanted, &actions)
		}
	}
}

// The error of a step is there once: the summary does not repeat it.
func TestErrorOfAStepIsNotRepeatedInTheSummary(t *testing.T) {
	const missing = "build for aarch64-linux on x86_64-linux: no emulator is registered with the kernel"
	var out bytes.Buffer
	l := report.NewLines(&out, report.Options{})
	for _, e := range []run.Event{
		run.RunStarted{ID: "1", Flake: "f", Cells: []matrix.Cell{{System: arm, Packages: []matrix.Package{"a"}}}},
		run.StepStarted{Step: run.StepPreflight, System: arm},
		run.StepFinished{Step: run.StepPreflight, System: arm, Error: missing},
		run.RunFinished{Manifest: &run.Manifest{Outcome: run.OutcomeFailed, Cells: []run.CellResult{{
			System: arm, Verdict: run.Failed, Error: missing, Packages: []run.PackageResult{{Package: "a", Verdict: run.Failed}},
		}}}},
	} {
		l.Report(time.Time{}, e)
	}
	if err := l.Close(); err != nil || strings.Count(out.String(), "no emulator") != 1 {
		t.Errorf("%v:\n%s", err, &out)
	}
}

func TestSecondBuildsAreRebuilt(t *testing.T) {
	var out bytes.Buffer
	l := report.NewLines(&out, report.Options{})
	for _, step := range []run.Step{run.StepBuild, run.StepRebuild} {
		l.Report(time.Time{}, run.StepStarted{Step: step, System: x86})
		l.Report(time.Time{}, run.BuildFinished{System: x86, Derivation: headless, Seconds: 1})
		l.Report(time.Time{}, run.StepFinished{Step: step, System: x86, Seconds: 1})
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	got := strings.Split(out.String(), "\n")
	if !strings.HasPrefix(got[0], "✔ built ") || !strings.HasPrefix(got[2], "✔ rebuilt ") {
		t.Errorf("lines\n%s", &out)
	}
}
