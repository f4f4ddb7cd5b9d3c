package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Each part of a run that was not done is found by its missing result, even if no step failed.
func TestUnfinishedRunIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		undo func(cells []run.CellResult) []run.CellResult
		want string // empty if nothing is missing
	}{
		"nothing":            {func(c []run.CellResult) []run.CellResult { return c }, ""},
		"a system":           {func(c []run.CellResult) []run.CellResult { return c[:1] }, "no result"},
		"a package's result": {func(c []run.CellResult) []run.CellResult { c[1].Packages = c[1].Packages[:1]; return c }, "not built"},
		"a package":          {func(c []run.CellResult) []run.CellResult { c[1].Packages[0].Verdict = run.Failed; return c }, "not built"},
		"a preview's verdict": {func(c []run.CellResult) []run.CellResult {
			c[1].Packages[0].Verdict = run.ToBuild
			return c
		}, "not built"},
		"the end":        {func(c []run.CellResult) []run.CellResult { c[0].Verdict = run.Failed; return c }, "end"},
		"a second build": {func(c []run.CellResult) []run.CellResult { c[0].Packages[1].Outputs[0].Rebuild = run.Unknown; return c }, "second time"},
		"the contract":   {func(c []run.CellResult) []run.CellResult { c[0].Checked = false; return c }, "contract was not checked"},
		"the export":     {func(c []run.CellResult) []run.CellResult { c[0].Exported = false; return c }, "not exported"},
		"the push":       {func(c []run.CellResult) []run.CellResult { c[0].Publish = nil; return c }, "not pushed"},
		"half of the push": {func(c []run.CellResult) []run.CellResult {
			c[0].Publish.Verdict = run.Unpublished
			return c
		}, "unpublished"},
		"what consumers see": {func(c []run.CellResult) []run.CellResult { c[0].Publish.Verdict = run.Unconfirmed; return c }, "not confirmed"},
		"the pins":           {func(c []run.CellResult) []run.CellResult { c[1].Publish.Pins = nil; return c }, "not pinned"},
		"a push that is withheld": {func(c []run.CellResult) []run.CellResult {
			c[0].Publish.Verdict, c[0].Publish.Pins = run.Withheld, nil
			return c
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			run := newFakeRun(t)
			run.publishTo(&fakeCachix{})
			run.Rebuild.Without = ""
			m, err := run.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = run.unfinished(nil, test.undo(slices.Clone(m.Cells)))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("it says %v, want %q", err, test.want)
			}
		})
	}
}

// The fields about packages and checks may be compared with another run's. No other field may be dropped.
func TestOnlyResults(t *testing.T) {
	build := fmt.Errorf("x86_64-linux: %w", &BuildError{})
	checks := hint.Wrap(&ContractError{}, "a hint")
	export := errors.New("export 2 paths: no space left on device")
	timeout := &run.InterruptedError{Step: run.StepExport, Cause: errors.New("timed out"), Err: context.DeadlineExceeded}
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"none", nil, true},
		{"a build", build, true},
		{"a build and checks", errors.Join(build, checks, &RebuildError{}), true},
		{"a package that does not evaluate", errors.Join(&EvaluationError{Failed: []matrix.Package{"p"}}, build), true},
		{"a flake that does not evaluate", &EvaluationError{}, false},
		{"an export", export, false},
		{"a build and an export", errors.Join(build, fmt.Errorf("x86_64-linux: %w", export)), false},
		{"a timeout", fmt.Errorf("x86_64-linux: %w", timeout), false},
		{"a build and a timeout", fmt.Errorf("x86_64-linux: %w", errors.Join(build, timeout)), false},
	} {
		if got := OnlyResults(test.err); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
