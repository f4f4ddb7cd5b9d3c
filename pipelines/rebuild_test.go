package pipelines

import (
	"context"
	"errors"
	"io"
	"path/filepath"
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

// fakeEvidence records what it is asked to keep.
type fakeEvidence struct{ kept []string }

func (e *fakeEvidence) KeepExport(_ context.Context, name string, stream io.Reader) (string, error) {
	data, err := io.ReadAll(stream)
	e.kept = append(e.kept, name+": "+strings.TrimSpace(string(data)))
	return name + ".nar", err
}

func (e *fakeEvidence) KeepNAR(ctx context.Context, name string, dump func(context.Context, io.Writer) error) (string, error) {
	var out strings.Builder
	err := dump(ctx, &out)
	e.kept = append(e.kept, name+": "+out.String())
	return name + ".nar", err
}

func (e *fakeEvidence) Compare(context.Context, string, string) ([]string, string, error) {
	return []string{"bin/tool: 4 bytes differ, likely timestamp"}, "page.html", nil
}

// newRebuilding returns a run of one system that builds twice.
func newRebuilding(t *testing.T) (*fakeRun, *fakeEngine, *fakeEvidence) {
	t.Helper()
	run := newFakeRun(t)
	evidence := &fakeEvidence{}
	run.Cells = run.Cells[:1]
	run.Rebuild = Rebuilding{Evidence: evidence}
	return run, run.engines[run.Cells[0].System], evidence
}

// rebuilds returns the verdict on each package's output.
func rebuilds(m *run.Manifest) map[string]run.RebuildVerdict {
	all := map[string]run.RebuildVerdict{}
	for _, p := range m.Cells[0].Packages {
		all[string(p.Package)] = p.Outputs[0].Rebuild
	}
	return all
}

func TestEqualSecondBuild(t *testing.T) {
	release, e, evidence := newRebuilding(t)
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]run.RebuildVerdict{"desktop": run.Good, "headless": run.Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if e.ran(buildAgain) != 1 || len(evidence.kept) > 0 {
		t.Errorf("%d second builds, kept %q", e.ran(buildAgain), evidence.kept)
	}
	if s := m.Cells[0].Second; s == nil || s.Engine != nil || s.Cores != 1 || s.Sandbox == nil || !*s.Sandbox {
		t.Errorf("second build is recorded as %+v", s)
	}
	checkStepsHaveEnds(t, release)
}

func TestDifferentSecondBuild(t *testing.T) {
	release, e, evidence := newRebuilding(t)
	e.differs = map[matrix.Package]bool{"desktop": true}
	public := &fakeCachix{}
	release.publishTo(public)
	m, err := release.Run(t.Context())
	var broken *RebuildError
	if !errors.As(err, &broken) || len(broken.Failed) != 1 {
		t.Fatalf("error %v, want a RebuildError of one package", err)
	}
	for _, want := range []string{"a second build differs in /nix/store/", "bin/tool: 4 bytes differ, likely timestamp"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, "ci compare ") || !strings.Contains(hints, ".first.nar ") || !strings.Contains(hints, "browser: page.html") {
		t.Errorf("hints do not say how to look at both results:\n%s", hints)
	}
	if diff := cmp.Diff(map[string]run.RebuildVerdict{"desktop": run.Bad, "headless": run.Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	out := fakePath(e.system, "desktop", "")
	if want := []string{out.Base() + ".first: " + string(out), out.Base() + ".second: /nix/store/" + fakeDigest + "c-" + out.Base() + ".check"}; !slices.Equal(evidence.kept, want) {
		t.Errorf("kept %q, want %q", evidence.kept, want)
	}
	if d := m.Cells[0].Packages[0].Difference; d == nil || d.Output != out || len(d.Kept) != 2 || d.Page != "page.html" {
		t.Errorf("difference in the manifest: %+v", d)
	}
	if len(public.paths) > 0 || m.Cells[0].Publish.Verdict != run.Withheld {
		t.Errorf("pushed %q; publishing is %+v", public.paths, m.Cells[0].Publish)
	}
	checkStepsHaveEnds(t, release)
}

// A difference that an earlier run found also applies to a later run, which builds nothing because the local cache has
// everything.
func TestRecordedDifferenceIsNotPublished(t *testing.T) {
	release, e, _ := newRebuilding(t)
	e.differs = map[matrix.Package]bool{"desktop": true}
	if _, err := release.Run(t.Context()); !isRebuildError(err) {
		t.Fatalf("error %v", err)
	}
	e.differs = nil // the next second build may have the same result
	public := &fakeCachix{}
	release.publishTo(public)
	for _, without := range []string{"", "--rebuild=off"} {
		release.Rebuild.Without = without
		m, err := release.Run(t.Context())
		if isRebuildError(err) != (without == "") {
			t.Errorf("with %q: error %v", without, err)
		}
		p := m.Cells[0].Packages[0]
		// There are no files: the fake keeps nothing.
		if p.Outputs[0].Rebuild != run.Bad || p.Difference == nil || !p.Difference.Earlier || len(p.Difference.Files) == 0 || p.Difference.Kept != nil {
			t.Errorf("with %q: package %+v", without, p)
		}
		if len(public.paths) > 0 || m.Cells[0].Publish.Verdict != run.Withheld {
			t.Errorf("with %q: pushed %q; publishing is %+v", without, public.paths, m.Cells[0].Publish)
		}
	}
	release.Rebuild.Without, release.Rebuild.WarnOnly, release.Publish.Different = "", true, true
	if _, err := release.Run(t.Context()); err != nil {
		t.Errorf("with warn: %v", err)
	}
	if len(public.paths) == 0 {
		t.Error("with warn, nothing is published")
	}
}

func TestRebuildThatOnlyWarns(t *testing.T) {
	release, e, _ := newRebuilding(t)
	e.differs = map[matrix.Package]bool{"desktop": true}
	release.Rebuild.WarnOnly = true
	public := &fakeCachix{}
	release.publishTo(public)
	for i := range 2 { // it is not recorded as good: the second run warns, too
		m, err := release.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]run.RebuildVerdict{"desktop": run.Bad, "headless": run.Good}, rebuilds(m)); diff != "" && i == 0 {
			t.Errorf("verdicts (-want +got):\n%s", diff)
		}
		warnings := slices.DeleteFunc(of[run.Notice](release.recorder), func(n run.Notice) bool { return !strings.Contains(n.Text, "a second build differs") })
		if len(warnings) != i+1 {
			t.Errorf("run %d: %d warnings", i+1, len(warnings))
		}
	}
	if len(public.paths) == 0 {
		t.Error("nothing is published")
	}
}

// A second build that cannot run is no verdict on the first.
func TestImpossibleSecondBuild(t *testing.T) {
	release, e, _ := newRebuilding(t)
	e.cannotRebuild = "builder for '%s' failed due to signal 9 (Killed)"
	m, err := release.Run(t.Context())
	if err == nil || isRebuildError(err) || !strings.Contains(err.Error(), "killed: ") {
		t.Errorf("error %v, want one that is no difference", err)
	}
	if got := rebuilds(m)["desktop"]; got != run.Unknown {
		t.Errorf("verdict %q, want %q", got, run.Unknown)
	}
}

func TestRebuiltPackages(t *testing.T) {
	for name, test := range map[string]struct {
		rebuild Rebuilding
		verdict run.Verdict
		want    bool
	}{
		"built":                           {Rebuilding{}, run.Built, true},
		"there before":                    {Rebuilding{}, run.Present, true},
		"fetched":                         {Rebuilding{}, run.Substituted, false},
		"served":                          {Rebuilding{}, run.Served, false},
		"failed":                          {Rebuilding{Fetched: true}, run.Failed, false},
		"fetched, with --rebuild":         {Rebuilding{Fetched: true}, run.Substituted, true},
		"served, with --rebuild":          {Rebuilding{Fetched: true}, run.Served, true},
		"built, to compare with a run":    {Rebuilding{Fetched: true, NotBuilt: true}, run.Built, false},
		"there before, to compare with a": {Rebuilding{Fetched: true, NotBuilt: true}, run.Present, true},
	} {
		r := &Release{Rebuild: test.rebuild}
		packages := []run.PackageResult{{Package: "p", Verdict: test.verdict}}
		if got := len(r.rebuildable(packages, nil)) > 0; got != test.want {
			t.Errorf("%s: built again %t, want %t", name, got, test.want)
		}
	}
}

// If a second build is requested, outputs that a cache has are rebuilt, too. Once recorded, they are not rebuilt again.
func TestCachedOutputsAreRebuiltOnRequest(t *testing.T) {
	release, e, _ := newRebuilding(t)
	release.Rebuild.Without = "not yet"
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	release.Rebuild = Rebuilding{Fetched: true}
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]run.RebuildVerdict{"desktop": run.Good, "headless": run.Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	release.opened = nil
	if m, err = release.Run(t.Context()); err != nil || len(release.opened) > 0 || rebuilds(m)["desktop"] != run.Good {
		t.Errorf("a third run opens %v, error %v, verdicts %v; want those of the second", release.opened, err, rebuilds(m))
	}
	if n := e.ran(buildAgain); n != 1 {
		t.Errorf("%d second builds", n)
	}
}

// If a store has built an output, it never asks the cache about it. So an equal second build does not prove that the
// cache has the same contents.
func TestOtherContentsInTheCacheAreBad(t *testing.T) {
	release, e, evidence := newRebuilding(t)
	release.Rebuild.Without = "not yet"
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := fakePath(e.system, "desktop", "")
	release.store.hashes = map[nix.StorePath]string{path: otherHash, fakePath(e.system, "headless", ""): fakeHash}
	release.Rebuild = Rebuilding{Fetched: true, Evidence: evidence}
	m, err := release.Run(t.Context())
	if !isRebuildError(err) {
		t.Fatalf("error %v, want a RebuildError", err)
	}
	for _, want := range []string{"rebuild desktop: fake store serves other contents: " + string(path), otherHash, fakeHash, "bin/tool: 4 bytes differ"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if diff := cmp.Diff(map[string]run.RebuildVerdict{"desktop": run.Bad, "headless": run.Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if want := []string{path.Base() + ".theirs: what the store has of " + path.Name(), path.Base() + ".ours: " + string(path)}; !slices.Equal(evidence.kept, want) {
		t.Errorf("kept %q, want %q", evidence.kept, want)
	}
	// Without a request for second builds, there is no verdict.
	release.Rebuild.Fetched = false
	if m, err = release.Run(t.Context()); err != nil || m.Cells[0].Packages[0].Reproducible() != run.Unknown {
		t.Errorf("without a second build: verdicts %v, error %v", rebuilds(m), err)
	}
	// The cache can be wrong: after its contents are corrected, the verdict is good again.
	release.Rebuild.Fetched = true
	for hash, want := range map[string]run.RebuildVerdict{fakeHash: run.Good, otherHash: run.Bad} {
		release.store.hashes[path] = hash
		if m, err = release.Run(t.Context()); isRebuildError(err) != (want == run.Bad) || rebuilds(m)["desktop"] != want {
			t.Errorf("where the cache has %s: verdicts %v, error %v", hash, rebuilds(m), err)
		}
	}
}

// The clock is at another second during the second build, so that every timestamp differs.
func TestSecondBuildWaitsForTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, e, _ := newRebuilding(t)
		run.Rebuild.Apart, run.Now = 2*time.Second, time.Now
		times := map[bool]time.Time{}
		e.onRealise = func(check bool) { times[check] = time.Now() }
		for i, want := range []time.Duration{2 * time.Second, 0} { // the second run finds everything built
			run.Record, run.Served = newRecord(t), nil
			if _, err := run.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if apart := times[true].Sub(times[false]); apart != want {
				t.Errorf("run %d: the second build began %v after the first, want %v", i+1, apart, want)
			}
			times[false] = times[true]
		}
	})
}

// otherEngine gives a run a second engine for its system.
func otherEngine(run *fakeRun) *fakeEngine {
	system := run.Cells[0].System
	other := newFakeEngine(system)
	other.engine.Kind, other.engine.Native, other.engine.Emulator = "other", "aarch64-linux", "binfmt"
	run.Rebuild.Elsewhere = map[matrix.System]Engines{system: enginesFunc(func() (engine.Executor, error) { return other, nil })}
	return other
}

type enginesFunc func() (engine.Executor, error)

func (f enginesFunc) Open(context.Context, matrix.System) (engine.Executor, error) { return f() }

func TestSecondBuildOnAnotherEngine(t *testing.T) {
	release, e, _ := newRebuilding(t)
	other := otherEngine(release)
	other.valid[fakePath(other.system, "headless", "")] = true // from a cache, or from an earlier build
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]run.RebuildVerdict{"desktop": run.Good, "headless": run.Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if s := m.Cells[0].Second; s == nil || s.Engine == nil || s.Engine.Kind != "other" || !s.Emulated {
		t.Errorf("second build is recorded as %+v", s)
	}
	// Nothing is rebuilt on the first engine. The second engine builds what it already has, too, and fetches nothing.
	if e.ran(buildAgain) > 0 || other.closed != 1 {
		t.Errorf("built again on the first engine; the other was closed %d times", other.closed)
	}
	drv := func(p matrix.Package) string { return string(fakePath(other.system, p, ".drv")) }
	for _, want := range []asked{
		{realise, []string{"/nix/store/" + fakeDigest + "d-stdenv.drv"}},
		{realise, []string{drv("desktop")}},
		{buildAgain, []string{drv("headless")}},
	} {
		if !other.ranOn(want.operation, want.files...) {
			t.Errorf("the other engine was not asked to %s %s, but\n%s", want.operation, want.files, strings.Join(other.commands, "\n"))
		}
	}
}

func TestOtherDerivationOnTheSecondEngine(t *testing.T) {
	release, _, evidence := newRebuilding(t)
	other := otherEngine(release)
	other.narHash = "sha256-" + strings.Repeat("A", 43) + "="
	m, err := release.Run(t.Context())
	if !isRebuildError(err) || !strings.Contains(err.Error(), "on other, Nix 2.8.0") {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff(map[string]run.RebuildVerdict{"desktop": run.Bad, "headless": run.Bad}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if len(evidence.kept) != 4 {
		t.Errorf("kept %q", evidence.kept)
	}
}

func TestMissingSecondEngine(t *testing.T) {
	release, _, _ := newRebuilding(t)
	release.Rebuild.Elsewhere = map[matrix.System]Engines{
		release.Cells[0].System: enginesFunc(func() (engine.Executor, error) { return nil, errors.New("no answer") }),
	}
	m, err := release.Run(t.Context())
	if err == nil || isRebuildError(err) || !strings.Contains(err.Error(), "rebuild on another engine: no answer") {
		t.Errorf("error %v", err)
	}
	if got := rebuilds(m)["desktop"]; got != run.Unknown {
		t.Errorf("verdict %q", got)
	}
}

func TestReproducibleIsTheWorstVerdictOfAllOutputs(t *testing.T) {
	for _, test := range []struct {
		outputs []run.RebuildVerdict
		want    run.RebuildVerdict
	}{
		{nil, run.Unknown},
		{[]run.RebuildVerdict{run.Good}, run.Good},
		{[]run.RebuildVerdict{run.Good, ""}, run.Unknown},
		{[]run.RebuildVerdict{run.Unknown, run.Bad, run.Good}, run.Bad},
	} {
		var p run.PackageResult
		for _, v := range test.outputs {
			p.Outputs = append(p.Outputs, run.Output{Rebuild: v})
		}
		if got := p.Reproducible(); got != test.want {
			t.Errorf("%q is %q, want %q", test.outputs, got, test.want)
		}
	}
}

// Nix names a store path by its physical path.
func TestLogicalPath(t *testing.T) {
	const base = fakeDigest + "0-hello"
	for _, physical := range []string{"/nix/store/" + base, filepath.Join("/mnt/root/nix/store", base)} {
		if got, err := logicalPath(physical); err != nil || got != nix.StorePath("/nix/store/"+base) {
			t.Errorf("%s: %s, %v", physical, got, err)
		}
	}
	if _, err := logicalPath("/mnt/elsewhere"); err == nil {
		t.Error("an invalid store path is accepted")
	}
}
