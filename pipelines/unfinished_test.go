package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Each thing that a run has to do is missed where a result does not show it, though no step has failed.
func TestWhatARunHasNotDoneIsMissed(t *testing.T) {
	for name, test := range map[string]struct {
		undo func(cells []CellResult) []CellResult
		want string // empty where nothing is missed
	}{
		"nothing":            {func(c []CellResult) []CellResult { return c }, ""},
		"a system":           {func(c []CellResult) []CellResult { return c[:1] }, "no result"},
		"a package's result": {func(c []CellResult) []CellResult { c[1].Packages = c[1].Packages[:1]; return c }, "not built"},
		"a package":          {func(c []CellResult) []CellResult { c[1].Packages[0].Verdict = Failed; return c }, "not built"},
		"a preview's verdict": {func(c []CellResult) []CellResult {
			c[1].Packages[0].Verdict = ToBuild
			return c
		}, "not built"},
		"the end":        {func(c []CellResult) []CellResult { c[0].Verdict = Failed; return c }, "end"},
		"a second build": {func(c []CellResult) []CellResult { c[0].Packages[1].Outputs[0].Rebuild = Unknown; return c }, "second time"},
		"the contract":   {func(c []CellResult) []CellResult { c[0].checked = false; return c }, "contract was not checked"},
		"the export":     {func(c []CellResult) []CellResult { c[0].exported = false; return c }, "not exported"},
		"the push":       {func(c []CellResult) []CellResult { c[0].Publish = nil; return c }, "not pushed"},
		"half of the push": {func(c []CellResult) []CellResult {
			c[0].Publish.Verdict = Unpublished
			return c
		}, "unpublished"},
		"what consumers see": {func(c []CellResult) []CellResult { c[0].Publish.Verdict = Unconfirmed; return c }, "not confirmed"},
		"the pins":           {func(c []CellResult) []CellResult { c[1].Publish.Pins = nil; return c }, "not pinned"},
		"a push that is withheld": {func(c []CellResult) []CellResult {
			c[0].Publish.Verdict, c[0].Publish.Pins = Withheld, nil
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
			err = run.unfinished(test.undo(slices.Clone(m.Cells)))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("it says %v, want %q", err, test.want)
			}
		})
	}
}

// What the manifest says of packages and checks may be compared with another run's, and nothing else may be dropped.
func TestOnlyResults(t *testing.T) {
	build := fmt.Errorf("x86_64-linux: %w", &BuildError{})
	checks := hint.Wrap(&ContractError{}, "a hint")
	export := errors.New("export 2 paths: no space left on device")
	timeout := &interruptedError{step: StepExport, cause: errors.New("timed out"), err: context.DeadlineExceeded}
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
