package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const builderFailed = "builder for '%s' failed with exit code 1"

// verdicts returns each package's verdict, by system and package.
func verdicts(m *run.Manifest) map[string]run.Verdict {
	all := map[string]run.Verdict{}
	for _, c := range m.Cells {
		for _, p := range c.Packages {
			all[string(c.System)+" "+string(p.Package)] = p.Verdict
		}
	}
	return all
}

func allVerdicts(v run.Verdict) map[string]run.Verdict {
	return map[string]run.Verdict{
		"x86_64-linux desktop": v, "x86_64-linux headless": v, "aarch64-linux desktop": v, "aarch64-linux headless": v,
	}
}

func TestReleaseBuildsAndExportsTheWholeMatrix(t *testing.T) {
	release := newFakeRun(t)
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(allVerdicts(run.Built), verdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	// Exactly the runtime closure is exported.
	var want []nix.StorePath
	for _, c := range release.Cells {
		for _, p := range c.Packages {
			want = append(want, fakePath(c.System, p, ""))
		}
	}
	if diff := cmp.Diff(nix.SortedPaths(want), nix.SortedPaths(release.store.paths)); diff != "" {
		t.Errorf("exported paths (-want +got):\n%s", diff)
	}
	for system, e := range release.engines {
		if e.closed != 1 {
			t.Errorf("engine of %s closed %d times, want once", system, e.closed)
		}
		if n := e.ran(evaluate); n != 1 {
			t.Errorf("%d evaluations for %s, want one", n, system)
		}
		if n := e.ran(realise); n != 1 {
			t.Errorf("%d realisations for %s, want one for all packages", n, system)
		}
	}
	checkStepsHaveEnds(t, release)
}

// checkStepsHaveEnds checks that each step that began has ended, and that the steps are in the order of run.Steps.
func checkStepsHaveEnds(t *testing.T, release *fakeRun) {
	t.Helper()
	for _, system := range append(matrix.DefaultSystems(), "") {
		var started, finished []run.Step
		for _, e := range of[run.StepStarted](release.recorder) {
			if e.System == system {
				started = append(started, e.Step)
			}
		}
		for _, e := range of[run.StepFinished](release.recorder) {
			if e.System == system {
				finished = append(finished, e.Step)
			}
		}
		if !slices.Equal(started, finished) {
			t.Errorf("steps of %q: started %v, finished %v", system, started, finished)
		}
		last := 0
		for _, step := range started {
			if i := slices.Index(run.Steps, step); i < last {
				t.Errorf("steps of %q: %s is not in run.Steps, or out of order: %v", system, step, started)
			} else {
				last = i
			}
		}
	}
}

func TestSecondRunStartsNoEngine(t *testing.T) {
	release := newFakeRun(t)
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	release.opened = nil
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(release.opened) > 0 {
		t.Errorf("engines opened for %v, want none", release.opened)
	}
	if diff := cmp.Diff(allVerdicts(run.Served), verdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if p := m.Cells[0].Packages[0]; p.ServedBy != "fake store" || p.Outputs[0].NARSize != 120 {
		t.Errorf("served package %+v, want the cache's name and the sizes of the first run", p)
	}
}

func TestMissingOutputIsNotCached(t *testing.T) {
	release := newFakeRun(t)
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := fakePath(matrix.X8664Linux, "desktop", "")
	release.store.paths = slices.DeleteFunc(release.store.paths, func(p nix.StorePath) bool { return p == lost })
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := allVerdicts(run.Served)
	want["x86_64-linux desktop"] = run.Present // in the engine's store
	if diff := cmp.Diff(want, verdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if !slices.Contains(release.store.paths, lost) {
		t.Error("the lost path was not exported again")
	}
}

func TestFailedPackageLeavesItsSiblingsUnharmed(t *testing.T) {
	release := newFakeRun(t)
	release.engines[matrix.X8664Linux].fails["desktop"] = []string{builderFailed, builderFailed}
	m, err := release.Run(t.Context())
	var failed *BuildError
	if !errors.As(err, &failed) || failed.System != matrix.X8664Linux || len(failed.Failed) != 1 {
		t.Fatalf("error %v, want a BuildError of one package", err)
	}
	want := allVerdicts(run.Built)
	want["x86_64-linux desktop"] = run.Failed
	if diff := cmp.Diff(want, verdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if !slices.Contains(release.store.paths, fakePath(matrix.X8664Linux, "headless", "")) {
		t.Error("the good sibling was not exported")
	}
	if n := release.engines[matrix.X8664Linux].ran(realise); n != 1 {
		t.Errorf("realised %d times: a builder's own failure is never retried", n)
	}
	f := m.Cells[0].Packages[0].Failure
	if f == nil || f.Kind != run.BuilderFailed || f.ExitCode != 1 {
		t.Errorf("failure %+v, want the builder's with exit code 1", f)
	}
	checkStepsHaveEnds(t, release)
	if data, err := os.ReadFile(release.Results.Manifest.Path()); err != nil || !json.Valid(data) {
		t.Errorf("manifest of a failed run: %v, valid JSON %t", err, json.Valid(data))
	}
}

func TestFlakySubstituterIsRetriedOnce(t *testing.T) {
	const unreachable = "some substitutes for the outputs of derivation '%s' failed (usually happens due to networking issues)"
	release := newFakeRun(t)
	release.engines[matrix.X8664Linux].fails["desktop"] = []string{unreachable}
	if _, err := release.Run(t.Context()); err != nil {
		t.Errorf("a substituter that fails once: %v", err)
	}
	release = newFakeRun(t)
	release.engines[matrix.X8664Linux].fails["desktop"] = []string{unreachable, unreachable, unreachable}
	m, err := release.Run(t.Context())
	if err == nil || m.Cells[0].Packages[0].Failure.Kind != run.SubstituterFailed {
		t.Errorf("a substituter that stays away: error %v, want its kind named", err)
	}
	if n := release.engines[matrix.X8664Linux].ran(realise); n != 2 {
		t.Errorf("realised %d times, want 2", n)
	}
}

func TestNoSandboxIsReportedAndRecorded(t *testing.T) {
	release := newFakeRun(t)
	release.engines[matrix.AArch64Linux].noSandbox = true
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if on := m.Cells[0].Sandbox; on == nil || !*on {
		t.Errorf("sandbox of %s: %v, want on", m.Cells[0].System, on)
	}
	if on := m.Cells[1].Sandbox; on == nil || *on {
		t.Errorf("sandbox of %s: %v, want off", m.Cells[1].System, on)
	}
	var warned bool
	for _, n := range of[run.Notice](release.recorder) {
		warned = warned || n.System == matrix.AArch64Linux && n.Level == run.Warning && strings.Contains(n.Text, "Operation not permitted")
	}
	if !warned {
		t.Error("no warning gives the reason for the lost sandbox")
	}
}

func TestLowMemlockIsReportedWithBothFigures(t *testing.T) {
	release := newFakeRun(t)
	release.Memlock = 256 << 20
	release.engines[matrix.X8664Linux].memlock = 8 << 20
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	notices := of[run.Notice](release.recorder)
	if len(notices) != 1 || !strings.Contains(notices[0].Text, "8 MiB") || !strings.Contains(notices[0].Text, "256 MiB") {
		t.Errorf("notices %+v, want one with both figures", notices)
	}
}

func TestPreflightRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(e *fakeEngine)
		want   string
	}{
		{"no emulator", func(e *fakeEngine) { e.engine.Native = matrix.AArch64Linux }, "no emulator"},
		{"a system that the daemon does not build for", func(e *fakeEngine) { e.engine.Refused = errors.New("no such extra-platforms") }, "no such extra-platforms"},
		{"untrusted substituter", func(e *fakeEngine) { e.engine.Ignored = []string{"https://c.example"} }, "https://c.example"},
		{"full disk", func(e *fakeEngine) { e.engine.FreeBytes = 1 << 20 }, "MiB free"},
		{"downloads that do not fit", func(e *fakeEngine) {
			e.engine.FreeBytes = 1 << 30
			e.plan = "these 2 paths will be fetched (900.00 MiB download, 4000.00 MiB unpacked):\n"
		}, "4000 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			release := newFakeRun(t)
			e := release.engines[matrix.X8664Linux]
			test.change(e)
			m, err := release.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want it to say %q", err, test.want)
			}
			if n := e.ran(realise); n != 0 {
				t.Error("something was built all the same")
			}
			if e.closed != 1 {
				t.Errorf("engine closed %d times, want once", e.closed)
			}
			if m.Cells[0].Verdict != run.Failed || m.Cells[1].Verdict != run.Built {
				t.Errorf("verdicts %s and %s: the other system goes on", m.Cells[0].Verdict, m.Cells[1].Verdict)
			}
		})
	}
}

func TestEngineThatDies(t *testing.T) {
	run := newFakeRun(t)
	run.engines[matrix.X8664Linux].dies = true
	run.engines[matrix.X8664Linux].fails["x"] = nil
	m, err := run.Run(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	if f := m.Cells[0].Packages[0].Failure; f == nil {
		t.Error("no failure is recorded")
	}
	if len(run.store.paths) != 2 {
		t.Errorf("store has %v, want the other system's two paths", run.store.paths)
	}
}

// If the engine cannot say what it has built, the error is about the engine. A failure that Nix reported stays.
func TestEngineThatCannotAnswerAfterTheBuild(t *testing.T) {
	for _, test := range []struct {
		name      string
		after     error
		nixSays   string
		kind      run.FailureKind // of the first package
		otherKind run.FailureKind // of the second, about which Nix reports nothing
		hint      string
	}{
		{
			name: "full disk", after: hint.Wrap(fmt.Errorf("run nix: %w: mkdir: no space left on device", engine.ErrDiskFull), "empty it"),
			kind: run.DiskFull, otherKind: run.DiskFull, hint: "empty it",
		},
		{
			name: "full disk, after a failed test", after: hint.Wrap(fmt.Errorf("run nix: %w", engine.ErrDiskFull), "empty it"),
			nixSays: "builder for '%s' failed with exit code 1", kind: run.BuilderFailed, otherKind: run.DiskFull, hint: "empty it",
		},
		{
			name: "database on a full disk", after: &engine.ExitError{Program: "nix", Code: 1, Stderr: "error: disk I/O error"},
			nixSays: "builder for '%s' failed: No space left on device", kind: run.DiskFull, otherKind: run.UnknownFailure, hint: "make room where Nix keeps its store",
		},
		{name: "lost", after: fmt.Errorf("run nix: %w: it does not answer", engine.ErrEngineLost), kind: run.EngineLost, otherKind: run.EngineLost, hint: "look at its log"},
	} {
		t.Run(test.name, func(t *testing.T) {
			release := newFakeRun(t)
			engine := release.engines[matrix.X8664Linux]
			engine.after = test.after
			if test.nixSays != "" {
				engine.fails[fakePackages[0]] = []string{test.nixSays}
			}
			m, err := release.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.after.Error()) {
				t.Fatalf("error %v, want the engine's own words", err)
			}
			for i, want := range []run.FailureKind{test.kind, test.otherKind} {
				if f := m.Cells[0].Packages[i].Failure; f == nil || f.Kind != want {
					t.Errorf("failure of %s is %+v, want %s", m.Cells[0].Packages[i].Package, f, want)
				}
			}
			hints := strings.Join(hint.Of(err), "\n")
			if !strings.Contains(hints, test.hint) || test.hint == "empty it" && strings.Contains(hints, "nix-collect-garbage") || strings.Contains(hints, "is kept") {
				t.Errorf("hints %q, want one with %q", hints, test.hint)
			}
			if strings.Count(err.Error(), test.after.Error()) != 1 {
				t.Errorf("the engine's words are there more than once: %v", err)
			}
		})
	}
}

func TestTimeoutIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := newFakeRun(t)
		release.engines[matrix.X8664Linux].hangs = true
		ctx, cancel := run.WithTimeout(t.Context(), 500*time.Millisecond, "timeout")
		defer cancel()
		m, err := release.Run(ctx)
		if err == nil || !strings.Contains(err.Error(), "timed out after 500ms (--timeout)") {
			t.Errorf("error %v, want it to name the flag", err)
		}
		if f := m.Cells[0].Packages[0].Failure; f == nil || f.Kind != run.TimedOut {
			t.Errorf("failure %+v, want %q", f, run.TimedOut)
		}
	})
}

func TestFailFastEndsOtherCells(t *testing.T) {
	run := newFakeRun(t)
	run.FailFast = true
	run.engines[matrix.X8664Linux].engine.Native = matrix.AArch64Linux // refused at once
	run.engines[matrix.AArch64Linux].hangs = true                      // would not end
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := run.Run(ctx)
	if err == nil || ctx.Err() != nil {
		t.Errorf("error %v, context %v: want the other cell ended by the first one's failure", err, ctx.Err())
	}
}

func TestBrokenStoreFailsTheCell(t *testing.T) {
	release := newFakeRun(t)
	release.store.broken = errors.New("write nar: no space left on device")
	m, err := release.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("error %v, want the store's", err)
	}
	if m.Cells[0].Verdict != run.Failed {
		t.Errorf("verdict %s, want failed", m.Cells[0].Verdict)
	}
}

func TestMissingPackageSuggestsTheNearest(t *testing.T) {
	run := newFakeRun(t)
	run.Cells = matrix.Expand([]matrix.System{matrix.X8664Linux}, []matrix.Package{"desktp"})
	_, err := run.Run(t.Context())
	if err == nil || !strings.Contains(strings.Join(hint.Of(err), " "), "--package desktop") {
		t.Errorf("error %v with hints %q, want the nearest package", err, hint.Of(err))
	}
}

func TestManifestsDifferOnlyInTimes(t *testing.T) {
	read := func() string {
		run := newFakeRun(t)
		if _, err := run.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(run.Results.Manifest.Path())
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(data), run.Logs.Name(), "LOGS")
	}
	if diff := cmp.Diff(read(), read()); diff != "" {
		t.Errorf("two runs' manifests (-first +second):\n%s", diff)
	}
}

func TestPreviewChangesNothing(t *testing.T) {
	release := newFakeRun(t)
	m, err := release.preview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(allVerdicts(run.ToBuild), verdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(release.Results.Manifest.Path()); err == nil {
		t.Error("a manifest was written")
	}
	for system, e := range release.engines {
		if e.ran(realise)+e.ran(buildProbe) > 0 || e.closed != 1 {
			t.Errorf("%s: commands %v, closed %d times", system, e.commands, e.closed)
		}
	}
}
