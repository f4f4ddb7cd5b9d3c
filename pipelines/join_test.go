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
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// cellRun runs one system alone, as a job of a matrix does, and returns its manifest as the file has it.
func cellRun(t *testing.T, system matrix.System, change func(*fakeRun)) *Manifest {
	t.Helper()
	run := newFakeRun(t)
	run.Cells = matrix.Expand([]matrix.System{system}, fakePackages)
	run.publishTo(&fakeCachix{})
	run.Publish.Pin = false
	if change != nil {
		change(run)
	}
	_, runErr := run.Run(t.Context()) // how it ends is in the manifest
	m, err := ReadManifest(run.ManifestFile.Path())
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
	m, err := Join([]*Manifest{arm, x86})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Cells) != 2 || m.Cells[0].System != matrix.X8664Linux || m.Cells[1].System != matrix.AArch64Linux {
		t.Errorf("cells %+v, want both, in order", m.Cells)
	}
	if m.Started != arm.Started || m.Finished != arm.Finished || m.Logs != "" || m.Outcome != OutcomeGood {
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

func TestJoinRefusesWhatDoesNotBelongTogether(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Manifest)
		want   string
	}{
		"tree":          {func(m *Manifest) { m.Source.NARHash = "sha256-other" }, "another source"},
		"commit":        {func(m *Manifest) { m.Source.Rev = "def" }, "another source"},
		"dirty":         {func(m *Manifest) { m.Source.Dirty = true }, "another source"},
		"override":      {func(m *Manifest) { m.Source.Overrides = map[string]string{"x": "github:o/x"} }, "another source"},
		"command":       {func(m *Manifest) { m.Command = "warm" }, "another command"},
		"version":       {func(m *Manifest) { m.Tool = "open-sesame-ci 9" }, "another version"},
		"settings":      {func(m *Manifest) { m.Settings = m.Settings.With(map[string]string{"cores": "7"}) }, "another set of settings"},
		"system, twice": {func(m *Manifest) { m.Cells[0].System = matrix.X8664Linux }, "two are of x86_64-linux"},
	} {
		t.Run(name, func(t *testing.T) {
			arm := cellRun(t, matrix.AArch64Linux, nil)
			test.change(arm)
			_, err := Join([]*Manifest{cellRun(t, matrix.X8664Linux, nil), arm})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want it to say %q", err, test.want)
			}
		})
	}
	if _, err := Join(nil); err == nil {
		t.Error("none of them make one")
	}
}

// conclusion is the second half of a release, after the runs of its systems.
func conclusion(t *testing.T, cache *fakeCachix, manifests ...*Manifest) (*fakeRun, *Manifest) {
	t.Helper()
	run := newFakeRun(t)
	run.publishTo(cache)
	run.ManifestFile = regular.AnyFile(filepath.Join(t.TempDir(), "all.json"))
	if len(manifests) == 0 {
		return run, nil
	}
	m, err := Join(manifests)
	if err != nil {
		t.Fatal(err)
	}
	return run, m
}

func TestConcludePinsWhenAllIsThere(t *testing.T) {
	cache := &fakeCachix{}
	run, m := conclusion(t, cache, cellRun(t, matrix.X8664Linux, nil), cellRun(t, matrix.AArch64Linux, nil))
	if err := run.Conclude(t.Context(), m, nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(cache.pins) != 4 || cache.pushes > 0 {
		t.Errorf("pins %v, %d pushes; want four and none", cache.pins, cache.pushes)
	}
	written, err := ReadManifest(run.ManifestFile.Path())
	if err != nil {
		t.Fatal(err)
	}
	if len(written.Cells) != 2 || len(written.Cells[1].Publish.Pins) != 2 || written.Outcome != OutcomeGood {
		t.Errorf("the manifest has %+v", written)
	}
	checkStepsHaveEnds(t, run)
}

func TestConcludePinsNothingUnlessAllIsGood(t *testing.T) {
	good := func(s matrix.System) *Manifest { return cellRun(t, s, nil) }
	lost := &OutcomeError{Text: "its job was cancelled", End: OutcomeInterrupted}
	for name, test := range map[string]struct {
		manifests []*Manifest
		missing   map[matrix.System]error
		besides   error
		want      Outcome
		text      string
	}{
		"a system is missing": {[]*Manifest{good(matrix.X8664Linux)}, nil, nil, OutcomeFailed, "aarch64-linux: there is no manifest of it"},
		"a system was cancelled": {
			[]*Manifest{good(matrix.X8664Linux)},
			map[matrix.System]error{matrix.AArch64Linux: lost},
			nil, OutcomeInterrupted, "aarch64-linux: its job was cancelled",
		},
		"both are missing": {nil, nil, nil, OutcomeFailed, "x86_64-linux: there is no manifest of it"},
		"a build failed": {[]*Manifest{good(matrix.X8664Linux), cellRun(t, matrix.AArch64Linux, func(run *fakeRun) {
			run.engines[matrix.AArch64Linux].fails["desktop"] = []string{"error: builder for '%s' failed with exit code 1"}
		})}, nil, nil, OutcomeFailed, "not every system is good: failed"},
		"a push failed": {[]*Manifest{good(matrix.X8664Linux), cellRun(t, matrix.AArch64Linux, func(run *fakeRun) {
			run.publishTo(&fakeCachix{pushErr: errors.New("no")})
		})}, nil, nil, OutcomeUnpublished, "not every system is good: not published"},
		"a second build differs": {[]*Manifest{good(matrix.X8664Linux), cellRun(t, matrix.AArch64Linux, func(run *fakeRun) {
			run.Rebuild.Without = ""
			run.differs()
		})}, nil, nil, OutcomeDifferent, "not every system is good: not reproducible"},
		"a job failed all the same": {
			[]*Manifest{good(matrix.X8664Linux), good(matrix.AArch64Linux)},
			nil, errors.New("the result of the jobs is failure"), OutcomeFailed, "the result of the jobs is failure",
		},
		"a key is wrong": {[]*Manifest{good(matrix.X8664Linux), cellRun(t, matrix.AArch64Linux, func(run *fakeRun) {
			run.publishTo(&fakeCachix{checkErr: errors.New("wrong key")})
		})}, nil, nil, OutcomeUnpublished, "not published"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := &fakeCachix{}
			run, m := conclusion(t, cache, test.manifests...)
			err := run.Conclude(t.Context(), m, test.missing, test.besides)
			if OutcomeOf(err) != test.want || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: %v; want %s: %s", OutcomeOf(err), err, test.want, test.text)
			}
			if len(cache.pins) > 0 {
				t.Errorf("pinned %v", cache.pins)
			}
			if m != nil {
				written, err := ReadManifest(run.ManifestFile.Path())
				if err != nil || written.Outcome != test.want {
					t.Errorf("the manifest says %s, %v", written.Outcome, err)
				}
			} else if _, err := os.Stat(run.ManifestFile.Path()); err == nil {
				t.Error("a manifest was made of nothing")
			}
		})
	}
}

// A cell that must not be published is no error, and no release either.
func TestNothingIsPinnedWhereACellIsWithheld(t *testing.T) {
	run, cache := newFakeRun(t), &fakeCachix{}
	run.publishTo(cache)
	run.engines[matrix.AArch64Linux].noSandbox = true
	m, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(cache.pins) > 0 || !m.Cells[0].published() || m.Cells[1].published() {
		t.Errorf("pins %v of %v", cache.pins, publishVerdicts(m))
	}
}

func TestAPinThatFailsIsNoRelease(t *testing.T) {
	cache := &fakeCachix{pinErr: errors.New("quota")}
	run, m := conclusion(t, cache, cellRun(t, matrix.X8664Linux, nil), cellRun(t, matrix.AArch64Linux, nil))
	err := run.Conclude(t.Context(), m, nil, nil)
	if OutcomeOf(err) != OutcomeUnpublished || m.Outcome != OutcomeUnpublished {
		t.Errorf("%s in the manifest, error %v", m.Outcome, err)
	}
}
