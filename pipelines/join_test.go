package pipelines

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// cellRun runs one system, as a job of a matrix does, and returns its manifest as it is in the file.
func cellRun(t *testing.T, system matrix.System, change func(*fakeRun)) *run.Manifest {
	t.Helper()
	release := newFakeRun(t)
	release.Cells = matrix.Expand([]matrix.System{system}, fakePackages)
	release.publishTo(&fakeCachix{})
	release.Publish.Pins = false
	if change != nil {
		change(release)
	}
	_, runErr := release.Run(t.Context()) // the manifest has the outcome
	m, err := run.ReadManifest(release.Results.Manifest.Path())
	if err != nil {
		t.Fatal(runErr, err)
	}
	return m
}

func TestJoin(t *testing.T) {
	arm, x86 := cellRun(t, matrix.AArch64Linux, nil), cellRun(t, matrix.X8664Linux, nil)
	arm.Started, arm.Finished = "2026-01-01T00:00:01Z", "2026-01-01T00:09:00Z"
	x86.Started, x86.Finished = "2026-01-01T00:00:05Z", "2026-01-01T00:03:00Z"
	arm.Contract = []contract.Result{{Check: "a", Status: contract.Pass}, {Check: "b", Status: contract.Fail}}
	x86.Contract = []contract.Result{{Check: "a", Status: contract.Skip}, {Check: "b", Status: contract.Pass}, {Check: "c", Status: contract.Pass}}
	x86.Logs, x86.Cells[0].Packages[0].Log = "cells/x/logs/1", "x86_64-linux/a.log"
	m, err := run.Join([]*run.Manifest{arm, x86})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Cells) != 2 || m.Cells[0].System != matrix.X8664Linux || m.Cells[1].System != matrix.AArch64Linux {
		t.Errorf("cells %+v, want both, in order", m.Cells)
	}
	if m.Started != arm.Started || m.Finished != arm.Finished || m.Logs != "" || m.Outcome != run.OutcomeGood {
		t.Errorf("from %s to %s, logs %q, %s", m.Started, m.Finished, m.Logs, m.Outcome)
	}
	if got := m.Cells[0].Packages[0].Log; got != "cells/x/logs/1/x86_64-linux/a.log" {
		t.Errorf("the log is %s, want it with its directory", got)
	}
	if x86.Cells[0].Packages[0].Log != "x86_64-linux/a.log" {
		t.Error("the manifest that was joined has been changed")
	}
	want := []contract.Result{{Check: "a", Status: contract.Skip}, {Check: "b", Status: contract.Fail}, {Check: "c", Status: contract.Pass}}
	if diff := cmp.Diff(want, m.Contract); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
}

func TestJoinRefusesManifestsOfDifferentRuns(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*run.Manifest)
		want   string
	}{
		"tree":          {func(m *run.Manifest) { m.Source.NARHash = "sha256-other" }, "another source"},
		"commit":        {func(m *run.Manifest) { m.Source.Rev = "def" }, "another source"},
		"dirty":         {func(m *run.Manifest) { m.Source.Dirty = true }, "another source"},
		"override":      {func(m *run.Manifest) { m.Source.Overrides = map[string]string{"x": "github:o/x"} }, "another source"},
		"command":       {func(m *run.Manifest) { m.Command = "warm" }, "another command"},
		"version":       {func(m *run.Manifest) { m.Tool = "open-sesame-ci 9" }, "another version"},
		"settings":      {func(m *run.Manifest) { m.Settings = m.Settings.With(map[string]string{"cores": "7"}) }, "another set of settings"},
		"system, twice": {func(m *run.Manifest) { m.Cells[0].System = matrix.X8664Linux }, "two are of x86_64-linux"},
	} {
		t.Run(name, func(t *testing.T) {
			arm := cellRun(t, matrix.AArch64Linux, nil)
			test.change(arm)
			_, err := run.Join([]*run.Manifest{cellRun(t, matrix.X8664Linux, nil), arm})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want it to say %q", err, test.want)
			}
		})
	}
	if _, err := run.Join(nil); err == nil {
		t.Error("joining no manifests succeeds")
	}
}

// conclusion is the second half of a release, after the runs of its systems.
func conclusion(t *testing.T, cache *fakeCachix, manifests ...*run.Manifest) (*fakeRun, *run.Manifest) {
	t.Helper()
	release := newFakeRun(t)
	release.publishTo(cache)
	release.Results.Manifest = regular.AnyFile(filepath.Join(t.TempDir(), "all.json"))
	if len(manifests) == 0 {
		return release, nil
	}
	m, err := run.Join(manifests)
	if err != nil {
		t.Fatal(err)
	}
	return release, m
}

func TestReportPinsIfEverythingIsPublished(t *testing.T) {
	cache := &fakeCachix{}
	release, m := conclusion(t, cache, cellRun(t, matrix.X8664Linux, nil), cellRun(t, matrix.AArch64Linux, nil))
	if err := release.conclude(t.Context(), m, nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(cache.pins) != 4 || cache.pushes > 0 {
		t.Errorf("pins %v, %d pushes; want four and none", cache.pins, cache.pushes)
	}
	written, err := run.ReadManifest(release.Results.Manifest.Path())
	if err != nil {
		t.Fatal(err)
	}
	if len(written.Cells) != 2 || len(written.Cells[1].Publish.Pins) != 2 || written.Outcome != run.OutcomeGood {
		t.Errorf("the manifest has %+v", written)
	}
	checkStepsHaveEnds(t, release)
}

func TestReportPinsNothingIfSomethingFailed(t *testing.T) {
	good := func(s matrix.System) *run.Manifest { return cellRun(t, s, nil) }
	lost := &run.OutcomeError{Text: "its job was cancelled", End: run.OutcomeInterrupted}
	for name, test := range map[string]struct {
		manifests []*run.Manifest
		missing   map[matrix.System]error
		extra     error
		want      run.Outcome
		text      string
	}{
		"a system is missing": {[]*run.Manifest{good(matrix.X8664Linux)}, nil, nil, run.OutcomeFailed, "aarch64-linux: there is no manifest of it"},
		"a system was cancelled": {
			[]*run.Manifest{good(matrix.X8664Linux)},
			map[matrix.System]error{matrix.AArch64Linux: lost},
			nil, run.OutcomeInterrupted, "aarch64-linux: its job was cancelled",
		},
		"both are missing": {nil, nil, nil, run.OutcomeFailed, "x86_64-linux: there is no manifest of it"},
		"a build failed": {[]*run.Manifest{good(matrix.X8664Linux), cellRun(t, matrix.AArch64Linux, func(run *fakeRun) {
			run.engines[matrix.AArch64Linux].fails["desktop"] = []string{"error: builder for '%s' failed with exit code 1"}
		})}, nil, nil, run.OutcomeFailed, "not every system is good: failed"},
		"a push failed": {[]*run.Manifest{good(matrix.X8664Linux), cellRun(t, matrix.AArch64Linux, func(run *fakeRun) {
			run.publishTo(&fakeCachix{pushErr: errors.New("no")})
		})}, nil, nil, run.OutcomeUnpublished, "not every system is good: not published"},
		"a second build differs": {[]*run.Manifest{good(matrix.X8664Linux), cellRun(t, matrix.AArch64Linux, func(run *fakeRun) {
			run.Rebuild.Without = ""
			run.differs()
		})}, nil, nil, run.OutcomeDifferent, "not every system is good: not reproducible"},
		"a job failed with good manifests": {
			[]*run.Manifest{good(matrix.X8664Linux), good(matrix.AArch64Linux)},
			nil, errors.New("the result of the jobs is failure"), run.OutcomeFailed, "the result of the jobs is failure",
		},
		"a key is wrong": {[]*run.Manifest{good(matrix.X8664Linux), cellRun(t, matrix.AArch64Linux, func(run *fakeRun) {
			run.publishTo(&fakeCachix{checkErr: errors.New("wrong key")})
		})}, nil, nil, run.OutcomeUnpublished, "not published"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := &fakeCachix{}
			release, m := conclusion(t, cache, test.manifests...)
			err := release.conclude(t.Context(), m, test.missing, test.extra)
			if run.OutcomeOf(err) != test.want || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: %v; want %s: %s", run.OutcomeOf(err), err, test.want, test.text)
			}
			if len(cache.pins) > 0 {
				t.Errorf("pinned %v", cache.pins)
			}
			if m != nil {
				written, err := run.ReadManifest(release.Results.Manifest.Path())
				if err != nil || written.Outcome != test.want {
					t.Errorf("the manifest says %s, %v", written.Outcome, err)
				}
			} else if _, err := os.Stat(release.Results.Manifest.Path()); err == nil {
				t.Error("a manifest was made of nothing")
			}
		})
	}
}

// A system that must not be published is no error, but there is no release.
func TestNothingIsPinnedIfASystemIsWithheld(t *testing.T) {
	run, cache := newFakeRun(t), &fakeCachix{}
	run.publishTo(cache)
	run.engines[matrix.AArch64Linux].noSandbox = true
	m, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(cache.pins) > 0 || !m.Cells[0].Published() || m.Cells[1].Published() {
		t.Errorf("pins %v of %v", cache.pins, publishVerdicts(m))
	}
}

func TestFailedPinIsNoRelease(t *testing.T) {
	cache := &fakeCachix{pinErr: errors.New("quota")}
	release, m := conclusion(t, cache, cellRun(t, matrix.X8664Linux, nil), cellRun(t, matrix.AArch64Linux, nil))
	err := release.conclude(t.Context(), m, nil, nil)
	if run.OutcomeOf(err) != run.OutcomeUnpublished || m.Outcome != run.OutcomeUnpublished {
		t.Errorf("%s in the manifest, error %v", m.Outcome, err)
	}
}
