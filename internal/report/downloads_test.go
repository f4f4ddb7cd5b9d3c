package report_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// failedDownloads are the events of a run in which seventy-five downloads fail.
func failedDownloads() []run.Event {
	const system = matrix.X8664Linux
	group := run.FailedDownloads{Reason: "could not resolve host"}
	events := []run.Event{
		run.RunStarted{ID: "r", Flake: "f", Cells: matrix.Expand([]matrix.System{system}, []matrix.Package{"hello"})},
		run.StepStarted{Step: run.StepBuild, System: system},
	}
	failure := run.Failure{Kind: run.DownloadFailed, Reason: group.Reason, Message: "builder failed with exit code 1", ExitCode: 1}
	for i := range 75 {
		drv := nix.StorePath(fmt.Sprintf("/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906f0-source-%d.drv", i))
		group.Derivations = append(group.Derivations, drv)
		events = append(events,
			run.BuildStarted{System: system, Derivation: drv},
			run.BuildFinished{System: system, Derivation: drv, Failure: &failure, Tail: []string{"curl: (6) Could not resolve host: x"}})
	}
	m := &run.Manifest{Outcome: run.OutcomeFailed, Cells: []run.CellResult{{
		System: system, Verdict: run.Failed, Error: "build hello: download failed", Downloads: []run.FailedDownloads{group},
		Packages: []run.PackageResult{{
			Package: "hello", Verdict: run.Failed, Derivation: "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906f1-hello.drv",
			Failure: &run.Failure{
				Kind: run.DownloadFailed, Reason: group.Reason, ExitCode: 1,
				Message: "its dependency source-0 could not be downloaded: could not resolve host", Remark: "a remark",
			},
		}},
	}}}
	return append(events,
		run.DownloadsFailed{System: system, FailedDownloads: group},
		run.StepFinished{Step: run.StepBuild, System: system, Error: "build hello: 75 downloads failed"},
		run.RunFinished{Manifest: m})
}

func TestFailedDownloadsAreReportedTogether(t *testing.T) {
	for name, open := range map[string]func(*bytes.Buffer) reporter{
		"lines":   func(w *bytes.Buffer) reporter { return report.NewLines(w, report.Options{}) },
		"actions": func(w *bytes.Buffer) reporter { return report.NewActions(w, report.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			r := open(&out)
			for _, e := range failedDownloads() {
				r.Report(time.Unix(0, 0), e)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			text := out.String()
			if n := strings.Count(text, "\n✘ failed"); n != 2 {
				t.Errorf("%d failures are reported during the build, want the first and the sum", n)
			}
			for _, want := range []string{
				"75 downloads failed: could not resolve host", "source-0, source-1, source-2, source-3, source-4 and 70 more",
				"✘ x86_64-linux: 75 downloads failed: could not resolve host", "✘ x86_64-linux hello: download failed: could not resolve host\n",
				"  its dependency source-0 could not be downloaded: could not resolve host\n  a remark\n",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
			if strings.Contains(text, "source-74") {
				t.Error("each download is reported")
			}
			if strings.Contains(text, "file=") {
				t.Error("a line of the flake is annotated")
			}
		})
	}
}

func TestStepSummaryNamesFailedDownloads(t *testing.T) {
	_, summary := newStep(t).report(t, failedDownloads()...)
	for _, want := range []string{"75 downloads failed&#58; could not resolve host", "source-0, source-1", "a remark"} {
		if !strings.Contains(summary, want) {
			t.Errorf("no %q in:\n%s", want, summary)
		}
	}
}
