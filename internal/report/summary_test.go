package report_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

func TestSummary(t *testing.T) {
	served := &pipelines.Manifest{Cells: []pipelines.CellResult{{
		System: x86, Verdict: pipelines.Served, Seconds: 0.9, Packages: []pipelines.PackageResult{
			{
				Package: "open-sesame", Verdict: pipelines.Served, ServedBy: "https://scopecreep-zip.cachix.org",
				Outputs: []pipelines.Output{
					{Name: "out", Path: "/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-open-sesame-0.4.2"},
					{Name: "dev", Path: "/nix/store/4nlgxhb09sdr51nc9hdm8az5b08vzkgx-open-sesame-0.4.2-dev"},
				},
			},
			{Package: "docs", Verdict: pipelines.Present, ClosureBytes: 812, ClosurePaths: 1},
		},
	}}}
	unreached := &pipelines.Manifest{Cells: []pipelines.CellResult{{
		System: arm, Verdict: pipelines.Failed, Error: "evaluate flake: attribute 'desktop' missing\nat flake.nix:12:3", Seconds: 2,
		Packages: []pipelines.PackageResult{
			{Package: "desktop"},
			{Package: "fetcher", Verdict: pipelines.Failed, Failure: &pipelines.Failure{
				Kind: pipelines.HashMismatch, Message: "specified sha256-AAAA=, got sha256-BBBB=",
			}},
		},
	}}}
	for name, m := range map[string]*pipelines.Manifest{
		"summary.txt": manifest(), "summary-served.txt": served, "summary-unreached.txt": unreached,
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := report.Summary(&out, m); err != nil {
				t.Fatal(err)
			}
			golden(t, name, out.Bytes())
		})
	}
	if err := report.Summary(&broken{}, served); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error is %v", err)
	}
}

// Nothing but a package that is there is good: not one that was skipped, and not a run of none.
func TestSkipNeverCountsAsPass(t *testing.T) {
	for _, packages := range [][]pipelines.PackageResult{
		nil,
		{{Package: "skipped"}},
		{{Package: "odd", Verdict: "skipped"}},
	} {
		var out bytes.Buffer
		m := &pipelines.Manifest{Cells: []pipelines.CellResult{{System: matrix.X8664Linux, Verdict: pipelines.Built, Packages: packages}}}
		if err := report.Summary(&out, m); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "✔") || !strings.Contains(out.String(), "✘ 0 of ") {
			t.Errorf("%v passes:\n%s", packages, &out)
		}
	}
}
