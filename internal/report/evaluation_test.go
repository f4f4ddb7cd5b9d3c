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

// notEvaluated is a run in which one of two packages does not evaluate, and the other is built.
func notEvaluated() []run.Event {
	failure := run.Failure{
		Kind: run.EvaluationFailed, Message: "Package 'gui-1.0' is marked as broken", At: &run.Line{File: "nix/gui.nix", Line: 7},
	}
	const text = "evaluate packages.x86_64-linux: gui: Package 'gui-1.0' is marked as broken"
	return []run.Event{
		run.RunStarted{ID: "run", Flake: "f", Cells: []matrix.Cell{{System: x86, Packages: []matrix.Package{"cli", "gui"}}}},
		run.StepStarted{Step: run.StepEvaluate, System: x86},
		run.PackageFailed{
			System: x86, Package: "gui", Failure: failure,
			Text: "Package 'gui-1.0' is marked as broken\n       at nix/gui.nix:7:3:\n            7|   meta.broken = true;",
		},
		run.StepFinished{Step: run.StepEvaluate, System: x86, Summary: "1 package", Error: text, At: failure.At},
		run.RunFinished{Seconds: 1, Manifest: &run.Manifest{
			Command: "release", Outcome: run.OutcomeFailed,
			Cells: []run.CellResult{{
				System: x86, Verdict: run.Failed, Error: text,
				Packages: []run.PackageResult{
					{Package: "cli", Verdict: run.Built, Derivation: headless, Outputs: []run.Output{{Name: "out", Path: "/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-open-sesame-0.4.2"}}},
					{Package: "gui", Verdict: run.Failed, Failure: &failure},
				},
			}},
		}},
	}
}

func TestPackageThatDoesNotEvaluateInALog(t *testing.T) {
	var out bytes.Buffer
	l := report.NewLines(&out, report.Options{})
	for _, e := range notEvaluated() {
		l.Report(time.Now(), e)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	golden(t, "lines-not-evaluated.txt", out.Bytes())
}

func TestPackageThatDoesNotEvaluateOnGitHub(t *testing.T) {
	var out bytes.Buffer
	a := report.NewActions(&out, report.Options{})
	for _, e := range notEvaluated() {
		a.Report(time.Now(), e)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "::error"); n != 1 || !strings.Contains(out.String(), "::error file=nix/gui.nix,line=7") {
		t.Errorf("%d annotations, want one beside nix/gui.nix:7:\n%s", n, &out)
	}
	_, summary := newStep(t).report(t, notEvaluated()...)
	for _, want := range []string{"1 of 2 packages failed", "❌ <code>gui</code> on <code>x86&#95;64-linux</code>: evaluation failed", "nix/gui.nix&#58;7", "is marked as broken"} {
		if !strings.Contains(strings.ReplaceAll(summary, "x86_64", "x86&#95;64"), want) {
			t.Errorf("summary lacks %q:\n%s", want, summary)
		}
	}
	if n := strings.Count(summary, "is marked as broken"); n != 1 {
		t.Errorf("the summary gives the reason %d times, want once:\n%s", n, summary)
	}
}
