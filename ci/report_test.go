package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// cellManifest returns the manifest of a job that built one system without a failure, and had no secret.
func cellManifest(system matrix.System) *run.Manifest {
	yes := true
	return &run.Manifest{
		Version: run.ManifestVersion, Tool: "open-sesame-ci 0.1.0", Command: "release", Outcome: run.OutcomeGood,
		Started: "2026-01-02T03:04:05Z", Finished: "2026-01-02T03:14:05Z", Logs: "cells/" + string(system) + "/logs/1",
		Source: run.Snapshot{URL: "github:o/r/abc", Rev: "abc", NARHash: "sha256-x"},
		Cells: []run.CellResult{{
			System: system, Verdict: run.Built, Sandbox: &yes, Emulated: system == matrix.AArch64Linux, Seconds: 90,
			Engine: &engine.Engine{Kind: "host", Nix: nix.Version{Text: "2.8.0"}, Native: matrix.X8664Linux},
			Packages: []run.PackageResult{{
				Package: "hello", Verdict: run.Built, Derivation: "/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-hello.drv", Seconds: 60,
				Outputs: []run.Output{{Name: "out", Path: "/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-hello"}}, ClosureBytes: 2 << 20, ClosurePaths: 3,
			}},
			Publish: &run.PublishResult{Verdict: run.NotWanted, Reason: "no secret: X is not set"},
		}},
	}
}

// leave writes a manifest into the directory of a cell's job, and returns the file.
func leave(t *testing.T, m *run.Manifest) string {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	file := fmt.Sprintf("cells/%s/manifest.json", m.Cells[0].System)
	writeTest(t, file, string(data))
	return file
}

func failedCell(m *run.Manifest) *run.Manifest {
	m.Outcome = run.OutcomeFailed
	c := &m.Cells[0]
	c.Verdict, c.Error = run.Failed, "build hello: builder failed"
	c.Packages[0].Verdict, c.Packages[0].Outputs, c.Packages[0].ClosureBytes = run.Failed, nil, 0
	c.Packages[0].Log = string(c.System) + "/hello.log"
	c.Packages[0].Failure = &run.Failure{Kind: run.BuilderFailed, Message: "builder failed", Phase: "checkPhase", ExitCode: 1}
	return m
}

// The manifests of the cells determine the exit code and the summary.
func TestReport(t *testing.T) {
	x86, arm := matrix.X8664Linux, matrix.AArch64Linux
	differ := func(change func(*run.Manifest)) *run.Manifest {
		m := cellManifest(arm)
		change(m)
		return m
	}
	for name, test := range map[string]struct {
		manifests []*run.Manifest
		result    string
		args      []string
		code      int
		log       string // a text in standard error
		summary   string // a text in the summary
	}{
		"both good": {[]*run.Manifest{cellManifest(x86), cellManifest(arm)}, jobSuccess, nil, 0, "2 of 2 packages good", "## ✅ Built"},
		"both good, and nothing is known of their jobs": {
			[]*run.Manifest{cellManifest(x86), cellManifest(arm)}, "", nil, 0, "2 of 2 packages good", "of machines; the same builds took 1.0 times as long under QEMU",
		},
		"one is lost": {
			[]*run.Manifest{cellManifest(x86)},
			jobFailure, nil, exitFailed,
			"error: aarch64-linux: no manifest: its job was lost", "<code>aarch64-linux</code> | ❌ no manifest&#58; its job was lost",
		},
		"one was cancelled": {
			[]*run.Manifest{cellManifest(x86)},
			jobCancelled, nil, exitInterrupted,
			"error: aarch64-linux: no manifest: its job was cancelled", "## ⏹️ Cancelled",
		},
		"both are lost":     {nil, jobFailure, nil, exitFailed, "error: x86_64-linux: no manifest", "## ❌ No system has a result"},
		"both were skipped": {nil, jobSkipped, nil, exitFailed, "its job was skipped", "its job was skipped"},
		"one was not to be": {[]*run.Manifest{cellManifest(x86)}, jobSuccess, []string{"--system", "x86_64-linux"}, 0, "1 of 1 package good", "## ✅ Built"},
		"one failed": {
			[]*run.Manifest{cellManifest(x86), failedCell(cellManifest(arm))},
			jobFailure, nil, exitFailed,
			"error: not every system is good: failed", "the last line of it\n```",
		},
		"one was broken": {
			[]*run.Manifest{cellManifest(x86), differ(func(m *run.Manifest) { m.Outcome = run.OutcomeContract })},
			jobFailure, nil, exitContract, "error: not every system is good: contract broken", "## ❌ The contract is broken",
		},
		"one differs": {
			[]*run.Manifest{cellManifest(x86), differ(func(m *run.Manifest) { m.Outcome = run.OutcomeDifferent })},
			jobFailure, nil, exitDifferent, "error: not every system is good: not reproducible", "## ❌ Built, and not reproducible",
		},
		"one was not published": {
			[]*run.Manifest{cellManifest(x86), differ(func(m *run.Manifest) { m.Outcome = run.OutcomeUnpublished })},
			jobFailure, nil, exitPublish, "error: not every system is good: not published", "## ⚠️ Built, and not published",
		},
		"a job failed, and what it built is good": {
			[]*run.Manifest{cellManifest(x86), cellManifest(arm)},
			jobFailure, nil, exitFailed,
			"hint: look at their logs", "⚠️ the result of the jobs that build is failure",
		},
		"a job was cancelled at its end": {
			[]*run.Manifest{cellManifest(x86), cellManifest(arm)}, jobCancelled, nil, exitInterrupted, "were cancelled", "## ⏹️ Cancelled",
		},
		"of another source": {
			[]*run.Manifest{cellManifest(x86), differ(func(m *run.Manifest) { m.Source.Rev = "def" })},
			jobSuccess, nil, exitUsage, "is of another source", "is of another source",
		},
		"two of one system": {
			[]*run.Manifest{cellManifest(x86), differ(func(m *run.Manifest) { m.Cells[0].System = x86 })},
			jobSuccess, nil, exitUsage, "two are of x86_64-linux", "two are of x86_64-linux",
		},
		"of another version": {
			[]*run.Manifest{differ(func(m *run.Manifest) { m.Version = 99 })}, jobSuccess, nil, exitFailed, "it has version 99", "it has version 99",
		},
		"no such result": {nil, "odd", nil, exitUsage, `parse --jobs-result "odd"`, ""},
		"no such system": {nil, "", []string{"--system", "x86"}, exitUsage, `parse system "x86"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t, pushed("refs/heads/main"))
			j.event.secret = false
			writeTest(t, "cells/aarch64-linux/logs/1/aarch64-linux/hello.log", strings.Repeat("a line\n", 30)+"\x1b[31mthe last line of it\x1b[0m\n")
			args := []string{"report", "--since", "none", "--jobs-result", test.result}
			for i, m := range test.manifests {
				file := leave(t, m)
				if i > 0 && m.Cells[0].System == test.manifests[0].Cells[0].System {
					writeTest(t, "other.json", readTest(t, file))
					leave(t, test.manifests[0])
					file = "other.json"
				}
				args = append(args, file)
			}
			if len(test.manifests) == 0 {
				args = append(args, "cells/*/manifest.json") // as a shell passes it on
			}
			if code := j.run(t, append(args, test.args...)...); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(j.stderr.String(), test.log) {
				t.Errorf("standard error is\n%swithout %q", &j.stderr, test.log)
			}
			if summary := readTest(t, j.summary); !strings.Contains(summary, test.summary) {
				t.Errorf("the summary is\n%swithout %q", summary, test.summary)
			}
			_, err := os.Stat("manifest.json")
			if written := err == nil; written != (len(test.manifests) > 0 && test.code != exitUsage && name != "of another version") {
				t.Errorf("a manifest was written: %t", written)
			}
		})
	}
}

// If the cells pushed something, a report without the right to pin it fails.
func TestReportWithoutTheSecretOfItsCells(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	j.event.secret = false
	m := cellManifest(matrix.X8664Linux)
	m.Source.URL = defaultProject.Flake
	m.Cells[0].Publish = &run.PublishResult{Verdict: run.Published, Cache: "c"}
	args := []string{"report", leave(t, m), "--system", "x86_64-linux", "--since", "none"}
	if code := j.run(t, args...); code != exitPublish || !strings.Contains(j.stderr.String(), "hint: to pin what was pushed, give the secret to this job too") {
		t.Errorf("exit code %d\n%s", code, &j.stderr)
	}
	if summary := readTest(t, j.summary); !strings.Contains(summary, "no secret") {
		t.Errorf("the summary is\n%s", summary)
	}
	if code := j.run(t, append(args, "--pin=false")...); code != 0 {
		t.Errorf("exit code %d without a pin\n%s", code, &j.stderr)
	}
}

// A manifest is from another job, which must not choose other files that this job shows.
func TestReportReadsNoLogsFromElsewhere(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	elsewhere := t.TempDir() + "/hello.log"
	writeTest(t, elsewhere, "a line that is not to be shown\n")
	if err := os.Symlink(elsewhere, "link.log"); err != nil {
		t.Fatal(err)
	}
	// The current directory has a checkout, results of another job, and files that are not logs of the manifest's run.
	for _, file := range []string{"checkout/.env", "cells/aarch64-linux/logs/1/hello.log", "cells/x86_64-linux/private.log"} {
		writeTest(t, file, "a line that is not to be shown\n")
	}
	writeTest(t, "cells/x86_64-linux/logs/1/good.log", "a line of a log\n")
	if err := os.Symlink("../../../../checkout/.env", "cells/x86_64-linux/logs/1/link.log"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ logs, log string }{
		{"", elsewhere},
		{"", "../../../../../../../../" + elsewhere},
		{"", "link.log"},
		{"", "checkout/.env"},
		{"checkout", ".env"},
		{".", "checkout/.env"},
		{"..", "../../checkout/.env"},
		{"/", "checkout/.env"},
		{"cells/aarch64-linux/logs/1", "hello.log"},
		{"", "cells/aarch64-linux/logs/1/hello.log"},
		{"cells/x86_64-linux", "private.log"},
		{"cells/x86_64-linux/logs/..", "private.log"},
		{"cells/x86_64-linux/logs/1", "../../private.log"},
		{"cells/x86_64-linux/logs/1", "link.log"},
	} {
		m := failedCell(cellManifest(matrix.X8664Linux))
		m.Logs, m.Cells[0].Packages[0].Log = test.logs, test.log
		if code := j.run(t, "report", leave(t, m), "--system", "x86_64-linux", "--since", "none"); code != exitFailed {
			t.Errorf("exit code %d\n%s", code, &j.stderr)
		}
		if summary := readTest(t, j.summary); strings.Contains(summary, "not to be shown") || !strings.Contains(summary, "builder failed") {
			t.Errorf("of log %s in %q the summary is\n%s", test.log, test.logs, summary)
		}
	}
	// The log is found beside the manifest, wherever the job had its results.
	m := failedCell(cellManifest(matrix.X8664Linux))
	m.Logs, m.Cells[0].Packages[0].Log = "/home/runner/work/out/logs/1", "good.log"
	j.run(t, "report", leave(t, m), "--system", "x86_64-linux", "--since", "none")
	if summary := readTest(t, j.summary); !strings.Contains(summary, "a line of a log") {
		t.Errorf("the summary is\n%s", summary)
	}
}

// The program cuts a summary that is too large for GitHub.
func TestReportOverTheLimit(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	m := failedCell(cellManifest(matrix.X8664Linux))
	for i := range 3000 {
		p := m.Cells[0].Packages[0]
		p.Package, p.Log = matrix.Package(fmt.Sprintf("p%d", i)), fmt.Sprintf("p%d.log", i)
		p.Derivation = nix.StorePath(fmt.Sprintf("/nix/store/%032d-p%d.drv", i, i))
		m.Cells[0].Packages = append(m.Cells[0].Packages, p)
	}
	for i := range 100 {
		writeTest(t, fmt.Sprintf("cells/x86_64-linux/logs/1/p%d.log", i), strings.Repeat(strings.Repeat("x", 999)+"\n", 40))
	}
	code := j.run(t, "report", leave(t, m), "--system", "x86_64-linux", "--since", "none")
	summary := readTest(t, j.summary)
	if code != exitFailed || len(summary) > 1<<20 || len(summary) < 1<<19 || !strings.HasPrefix(summary, "## ❌ 3001 of 3001 packages failed") {
		t.Errorf("exit code %d, a summary of %d bytes:\n%.300s", code, len(summary), summary)
	}
	if strings.Contains(j.stderr.String(), "::warning::") {
		t.Errorf("it warns:\n%.500s", &j.stderr)
	}
}

// Missing or unwritable files of GitHub do not change the result of a run.
func TestReportWithoutTheRunnersFiles(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	for i, kv := range j.environ {
		if strings.HasPrefix(kv, "GITHUB_STEP_SUMMARY=") || strings.HasPrefix(kv, "GITHUB_OUTPUT=") {
			j.environ[i] = strings.SplitAfter(kv, "=")[0] + "/nowhere/file"
		}
	}
	code := j.run(t, "report", leave(t, cellManifest(matrix.X8664Linux)), "--system", "x86_64-linux", "--since", "none")
	if code != 0 || !strings.Contains(j.stderr.String(), "::warning::write step summary: ") || !strings.Contains(j.stderr.String(), "::warning::set output hits: ") {
		t.Errorf("exit code %d\n%s", code, &j.stderr)
	}
}
