package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// checked has a result with each status.
var checked = []contract.Result{
	{Check: "outputs/default", System: x86, Status: contract.Pass},
	{
		Check: "hashes/equal", System: x86, Status: contract.Fail, Reason: "nucleo-0.5.0 differs", File: "nix/package.nix", Line: 38,
		Wanted: "sha256-B", Found: "sha256-C", Fix: "build once; the error tells which is right",
	},
	{Check: "lock/age", System: x86, Status: contract.Warn, Reason: "nixpkgs is 200 days old", File: "flake.lock"},
	{Check: "units/verify", System: x86, Status: contract.Skip, Reason: "no systemd-analyze"},
}

func checkedRun(warnOnly bool) []moment {
	return []moment{
		{0, run.Checked{System: x86, Results: checked, WarnOnly: warnOnly}},
		{1, run.RunFinished{Seconds: 1, Manifest: &run.Manifest{Cells: []run.CellResult{
			{System: x86, Verdict: run.Failed, Contract: checked, Error: "check contract: 1 of 4 checks failed"},
		}}}},
	}
}

func TestContractInALog(t *testing.T) {
	var out bytes.Buffer
	reportAll(t, report.NewLines(&out, report.Options{}), checkedRun(false))
	golden(t, "contract.txt", out.Bytes())
}

func TestContractOnActions(t *testing.T) {
	var out bytes.Buffer
	reportAll(t, report.NewActions(&out, report.Options{}), checkedRun(false))
	if want := "::error file=nix/package.nix,line=38::x86_64-linux: hashes/equal: nucleo-0.5.0 differs%0A"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, &out)
	}
	if want := "::warning file=flake.lock::x86_64-linux: lock/age: nixpkgs is 200 days old%0A"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, &out)
	}
	if strings.Contains(out.String(), "::error file=nix/package.nix,line=38::x86_64-linux: units") {
		t.Error("a skipped check is an error")
	}
}

func TestContractThatOnlyWarns(t *testing.T) {
	var out bytes.Buffer
	reportAll(t, report.NewActions(&out, report.Options{}), checkedRun(true))
	if strings.Contains(out.String(), "::error") || strings.Count(out.String(), "::warning file=") != 2 {
		t.Errorf("want two warnings and no error:\n%s", &out)
	}
}

func TestFlakesCannotIssueCommands(t *testing.T) {
	const text = "a\n::add-mask::x\r::set-env name=y::z\x1b[31m"
	var out bytes.Buffer
	a := report.NewActions(&out, report.Options{})
	a.Report(time.Now(), run.Checked{Results: []contract.Result{
		{Check: text, Status: contract.Fail, Reason: text, Wanted: text, Found: text, File: text, Line: 1, Fix: text},
	}})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(strings.TrimSpace(line), "::") && !strings.HasPrefix(line, "::error file=") || strings.Contains(line, "\x1b") {
			t.Errorf("a command of the flake: %q", line)
		}
	}
}
