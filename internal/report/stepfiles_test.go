package report_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const runPage = "https://github.com/ScopeCreep-zip/open-sesame/actions/runs/7/attempts/1"

// jobStep is a step of a job: its files and its log.
type jobStep struct {
	output, summary string
	log             bytes.Buffer
}

func newStep(t *testing.T) *jobStep {
	t.Helper()
	dir := t.TempDir()
	s := &jobStep{output: filepath.Join(dir, "output"), summary: filepath.Join(dir, "summary")}
	for _, file := range []string{s.output, s.summary} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// report reports events, and returns the contents of the files.
func (s *jobStep) report(t *testing.T, events ...run.Event) (outputs, summary string) {
	t.Helper()
	r := report.NewStepFiles(&s.log, report.StepOptions{Output: s.output, Summary: s.summary, Run: runPage})
	for _, e := range events {
		r.Report(time.Time{}, e)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close fails a run: %v", err)
	}
	return readText(t, s.output), readText(t, s.summary)
}

func readText(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Each kind of run, as GitHub shows it.
func TestStepFiles(t *testing.T) {
	for name, events := range map[string][]run.Event{
		"released":    {lastRelease(), started(), pin(run.StepFinished{Summary: "4 pins"}), finished(released())},
		"served":      {started(), pin(run.StepFinished{Summary: "4 pins"}), finished(servedAgain())},
		"failed":      failedRun(),
		"fork":        {started(), finished(unpushed("a fork's pull request gets no secret"))},
		"unpublished": {started(), pin(run.StepFinished{Skipped: "not every system is good and published"}), finished(cacheDown())},
		"cancelled":   {started(), finished(cancelled())},
		"lost": {
			started(),
			run.Notice{System: arm, Level: run.Warning, Text: "no manifest: its job was lost"},
			pin(run.StepFinished{Skipped: "not every system is good and published"}), finished(oneOf(released())),
		},
		"refused": {
			run.StepFinished{Step: run.StepPreflight, Error: "run on pull_request_target: refused: the secret is in reach of a stranger's code"},
			run.RunFinished{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStep(t)
			outputs, summary := s.report(t, events...)
			golden(t, "step-"+name+".md", []byte(summary))
			golden(t, "step-"+name+".outputs.txt", []byte(outputs))
			if s.log.Len() > 0 {
				t.Errorf("it warns: %s", &s.log)
			}
		})
	}
}

// A value that could set another output is refused with a warning. The other outputs are set.
func TestOutputsCannotBeForged(t *testing.T) {
	for _, path := range []string{
		"out\n_GitHubActionsFileCommandDelimeter_\nhits<<x\n9\nx",
		"_GitHubActionsFileCommandDelimeter_",
		"out\r\nmanifest.json",
	} {
		s := newStep(t)
		outputs, _ := s.report(t, run.RunFinished{Manifest: released(), Path: path})
		if strings.Contains(outputs, "manifest<<") || !strings.Contains(outputs, "hits<<") {
			t.Errorf("%q: outputs are %q", path, outputs)
		}
		if !strings.HasPrefix(s.log.String(), "::warning::set output manifest: refused") {
			t.Errorf("%q: it says %q", path, s.log.String())
		}
	}
}

// Missing files, and files that cannot be written, do not fail the run.
func TestMissingStepFilesDoNotFailTheRun(t *testing.T) {
	s := newStep(t)
	s.summary = filepath.Join(filepath.Dir(s.summary), "no", "summary")
	s.output = filepath.Dir(s.output) // a directory
	r := report.NewStepFiles(&s.log, report.StepOptions{Output: s.output, Summary: s.summary})
	r.Report(time.Time{}, finished(released()))
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"::warning::set output manifest: ", "::warning::write step summary: "} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("it says %q, without %q", &s.log, want)
		}
	}
	report.NewStepFiles(&broken{}, report.StepOptions{Output: s.output}).Report(time.Time{}, finished(released()))
	report.NewStepFiles(&s.log, report.StepOptions{}).Report(time.Time{}, finished(released()))
}

// huge is a run of many packages that have all failed, with long logs.
func huge(packages int) []run.Event {
	m := released()
	m.Outcome = run.OutcomeFailed
	m.Contract = nil
	for i := range 5000 {
		m.Contract = append(m.Contract, contract.Result{Check: fmt.Sprintf("check/%d", i), Status: contract.Fail, Reason: strings.Repeat("r", 100)})
	}
	c := &m.Cells[0]
	c.Packages = nil
	events := []run.Event{started()}
	for i := range packages {
		drv := nix.StorePath(fmt.Sprintf("/nix/store/%032d-p%d.drv", i, i))
		c.Packages = append(c.Packages, run.PackageResult{Package: matrix.Package(fmt.Sprintf("p%d", i)), Verdict: run.Failed, Derivation: drv, Failure: failure()})
		if i >= 100 {
			continue // their names alone are enough
		}
		events = append(events, run.BuildFinished{System: x86, Derivation: drv, Failure: failure(), Tail: slices.Repeat([]string{strings.Repeat("é", 1000)}, 25)})
	}
	return append(events, finished(m))
}

// GitHub refuses a summary of more than 1 MiB as a whole.
func TestSummaryOverTheLimitIsCut(t *testing.T) {
	const limit = 1 << 20
	for packages, want := range map[int]string{
		10:    "ééé", // all of it
		100:   "What has not passed is in the manifest",
		20000: "**The rest is left out**",
	} {
		s := newStep(t)
		_, summary := s.report(t, huge(packages)...)
		if len(summary) > limit {
			t.Errorf("%d packages: %d bytes", packages, len(summary))
		}
		if !strings.HasPrefix(summary, "## ❌ ") || !strings.Contains(summary, want) {
			t.Errorf("%d packages: no %q in a summary of %d bytes", packages, want, len(summary))
		}
		if packages == 100 {
			if !strings.Contains(summary, "<code>p99</code>") || !strings.Contains(summary, "**Cost**") {
				t.Error("a short part was left out to make room for a long one")
			}
			if first, last := strings.Contains(sectionOf(summary, "p0"), "ééé"), strings.Contains(sectionOf(summary, "p99"), "ééé"); !first || last {
				t.Errorf("the first log is there: %t, the last one: %t", first, last)
			}
		}
	}
}

// sectionOf returns the section of a failed package.
func sectionOf(summary, name string) string {
	_, section, _ := strings.Cut(summary, "<summary>❌ <code>"+name+"</code>")
	section, _, _ = strings.Cut(section, "</details>")
	return section
}

// The text of earlier commands of the step counts, and stays.
func TestSummaryCountsEarlierText(t *testing.T) {
	const limit = 1 << 20
	for size, want := range map[int]string{0: "Released", limit - 1500: "**The rest is left out**", limit - 10: ""} {
		s := newStep(t)
		if err := os.WriteFile(s.summary, bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			t.Fatal(err)
		}
		_, summary := s.report(t, started(), finished(released()))
		if len(summary) > limit || !strings.HasPrefix(summary, strings.Repeat("x", size)) || !strings.Contains(summary, want) {
			t.Errorf("after %d bytes: %d bytes, without %q", size, len(summary), want)
		}
		if full := strings.Contains(s.log.String(), "::warning::write step summary: there is no room left"); full != (want == "") {
			t.Errorf("after %d bytes it says %q", size, &s.log)
		}
	}
}

// Text of a flake, a builder or a server stays text: it is never a link, image, tag, mention, row or heading.
func TestSummaryIsNotForged(t *testing.T) {
	const hostile = "x|y\n| z |\n# h\n![i](https://e.example/i.png) <img src=x onerror=1> </details></code> `c` @user #1 [l](javascript:1) www.e.example https://e.example **b** \\| $x$ ```\n~~~"
	var events []run.Event
	m := released()
	m.Outcome, m.Command, m.Tool = run.OutcomeFailed, hostile, hostile
	m.Source.URL = hostile
	m.Contract = []contract.Result{{Check: hostile, Status: contract.Fail, Reason: hostile, File: hostile, Fix: hostile}}
	c := &m.Cells[0]
	c.Error, c.Job, c.Engine = hostile, "https://e.example/ )"+hostile, &engine.Engine{Kind: hostile, Version: hostile, Nix: nix.Version{Text: hostile}}
	c.Publish = &run.PublishResult{Verdict: run.Unpublished, Cache: hostile, Reason: hostile, Left: 1}
	c.Packages[0] = run.PackageResult{
		Package: hostile, Verdict: run.Failed, Derivation: headless, Log: hostile, Failure: &run.Failure{
			Kind: hostile, Message: hostile, Phase: hostile, At: &run.Line{File: hostile, Line: 1},
		}, Difference: &run.Difference{Files: []string{hostile}},
	}
	m.Cells[1].Publish = &run.PublishResult{Verdict: run.Withheld, Reason: hostile}
	events = append(events, started(), run.BuildFinished{System: x86, Derivation: headless, Failure: failure(), Tail: []string{hostile, "````", "```"}},
		run.Notice{System: x86, Level: run.Warning, Text: hostile}, run.LastRelease{From: hostile, Packages: lastRelease().Packages},
		pin(run.StepFinished{Error: hostile}), run.StepFinished{Step: run.StepPreflight, Error: hostile}, finished(m))
	_, summary := newStep(t).report(t, events...)
	for _, line := range outsideFences(t, summary) {
		for _, bad := range []string{"![", "<img", "javascript:1", "@user", "#1 ", "**b**", "`c`", "www.e", "https://e.example", "$x$", "~~~"} {
			if strings.Contains(line, bad) {
				t.Errorf("%q is in %q", bad, line)
			}
		}
		if strings.HasPrefix(line, "# h") || strings.HasPrefix(line, "| z |") {
			t.Errorf("forged line %q", line)
		}
	}
	if opened, closed := strings.Count(summary, "<details"), strings.Count(summary, "\n</details>"); opened != closed {
		t.Errorf("%d details begin and %d end", opened, closed)
	}
}
