package report_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestSummary(t *testing.T) {
	served := &run.Manifest{Cells: []run.CellResult{{
		System: x86, Verdict: run.Served, Seconds: 0.9, Packages: []run.PackageResult{
			{
				Package: "open-sesame", Verdict: run.Served, ServedBy: "https://scopecreep-zip.cachix.org",
				Outputs: []run.Output{
					{Name: "out", Path: "/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-open-sesame-0.4.2"},
					{Name: "dev", Path: "/nix/store/4nlgxhb09sdr51nc9hdm8az5b08vzkgx-open-sesame-0.4.2-dev"},
				},
			},
			{Package: "docs", Verdict: run.Present, ClosureBytes: 812, ClosurePaths: 1},
		},
	}}}
	unreached := &run.Manifest{Cells: []run.CellResult{{
		System: arm, Verdict: run.Failed, Error: "evaluate flake: attribute 'desktop' missing\nat flake.nix:12:3", Seconds: 2,
		Packages: []run.PackageResult{
			{Package: "desktop"},
			{Package: "fetcher", Verdict: run.Failed, Failure: &run.Failure{
				Kind: run.HashMismatch, Message: "specified sha256-AAAA=, got sha256-BBBB=",
			}},
		},
	}}}
	for name, m := range map[string]*run.Manifest{
		"summary.txt": manifest(), "summary-served.txt": served, "summary-unreached.txt": unreached,
		"summary-published.txt": released(), "summary-unpublished.txt": cacheDown(), "summary-unconfirmed.txt": unconfirmed(),
		"summary-withheld.txt": withheld(),
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

// unconfirmed is a run that pushed everything, but consumers do not get one package.
func unconfirmed() *run.Manifest {
	m := released()
	m.Cells = m.Cells[:1]
	c := &m.Cells[0]
	c.Publish = &run.PublishResult{
		Verdict: run.Unconfirmed, Cache: "scopecreep-zip", Added: 2,
		Reason: "confirm open-sesame-desktop: no narinfo\nafter 60 s",
	}
	c.Packages[1].Consumer = run.NotVisible
	return m
}

// withheld has a system whose second build differed, and one without a secret.
func withheld() *run.Manifest {
	m := unpushed("there is no secret")
	m.Cells[0].Publish = &run.PublishResult{Verdict: run.Withheld, Reason: "a second build was not the same"}
	return m
}

// A skipped package is not good, and a run without packages is not good.
func TestSkipNeverCountsAsPass(t *testing.T) {
	for _, packages := range [][]run.PackageResult{
		nil,
		{{Package: "skipped"}},
		{{Package: "odd", Verdict: "skipped"}},
	} {
		var out bytes.Buffer
		m := &run.Manifest{Cells: []run.CellResult{{System: matrix.X8664Linux, Verdict: run.Built, Packages: packages}}}
		if err := report.Summary(&out, m); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "✔") || !strings.Contains(out.String(), "✘ 0 of ") {
			t.Errorf("%v passes:\n%s", packages, &out)
		}
	}
}

// A system without a result counts in both summaries, and no summary of such a run is good.
func TestSummariesCountMissingSystems(t *testing.T) {
	end := finished(oneOf(released()))
	var log bytes.Buffer
	reportAll(t, report.NewLines(&log, report.Options{}), []moment{{0, started()}, {1, end}})
	if want := "✘ 2 of 4 packages good"; !strings.Contains(log.String(), want) {
		t.Errorf("the log has no %q:\n%s", want, &log)
	}
	_, page := newStep(t).report(t, started(), end)
	if want := "❌ 2 of 4 packages good"; !strings.Contains(page, want) {
		t.Errorf("the step summary has no %q:\n%s", want, page)
	}
}
