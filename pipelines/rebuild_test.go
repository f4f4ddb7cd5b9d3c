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

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// fakeEvidence notes what it is given to keep.
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

// newRebuilding is a run of one system that builds twice.
func newRebuilding(t *testing.T) (*fakeRun, *fakeEngine, *fakeEvidence) {
	t.Helper()
	run := newFakeRun(t)
	evidence := &fakeEvidence{}
	run.Cells = run.Cells[:1]
	run.Rebuild = Rebuilding{Evidence: evidence}
	return run, run.engines[run.Cells[0].System], evidence
}

// rebuilds returns the verdict of each package's output.
func rebuilds(m *Manifest) map[string]RebuildVerdict {
	all := map[string]RebuildVerdict{}
	for _, p := range m.Cells[0].Packages {
		all[string(p.Package)] = p.Outputs[0].Rebuild
	}
	return all
}

func TestSecondBuildThatIsTheSame(t *testing.T) {
	run, e, evidence := newRebuilding(t)
	m, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]RebuildVerdict{"desktop": Good, "headless": Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if e.ran("nix-store --realise --check") != 1 || len(evidence.kept) > 0 {
		t.Errorf("%d second builds, kept %q", e.ran("nix-store --realise --check"), evidence.kept)
	}
	if s := m.Cells[0].Second; s == nil || s.Engine != nil || s.Cores != 1 || s.Sandbox == nil || !*s.Sandbox {
		t.Errorf("second build is recorded as %+v", s)
	}
	checkStepsHaveEnds(t, run)
}

func TestSecondBuildThatDiffers(t *testing.T) {
	run, e, evidence := newRebuilding(t)
	e.differs = map[matrix.Package]bool{"desktop": true}
	public := &fakeCachix{}
	run.publishTo(public)
	m, err := run.Run(t.Context())
	var broken *RebuildError
	if !errors.As(err, &broken) || len(broken.Failed) != 1 {
		t.Fatalf("error %v, want a RebuildError of one package", err)
	}
	for _, want := range []string{"a second build differs in /nix/store/", "bin/tool: 4 bytes differ, likely timestamp"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, "ci compare '") || !strings.Contains(hints, ".first.nar' '") || !strings.Contains(hints, "browser: page.html") {
		t.Errorf("hints do not say how to look at both results:\n%s", hints)
	}
	if diff := cmp.Diff(map[string]RebuildVerdict{"desktop": Bad, "headless": Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	out := fakePath(e.system, "desktop", "")
	if want := []string{out.Base() + ".first: " + string(out), out.Base() + ".second: /nix/store/" + fakeDigest + "c-" + out.Base() + ".check"}; !slices.Equal(evidence.kept, want) {
		t.Errorf("kept %q, want %q", evidence.kept, want)
	}
	if d := m.Cells[0].Packages[0].Difference; d == nil || d.Output != out || len(d.Kept) != 2 || d.Page != "page.html" {
		t.Errorf("difference in the manifest: %+v", d)
	}
	if len(public.paths) > 0 || m.Cells[0].Publish.Verdict != Withheld {
		t.Errorf("pushed %q; publishing is %+v", public.paths, m.Cells[0].Publish)
	}
	checkStepsHaveEnds(t, run)
}

// What an earlier run has found holds for a later one, which has nothing to build: the local cache has it all.
func TestWhatDifferedOnceIsNotPublishedByALaterRun(t *testing.T) {
	run, e, _ := newRebuilding(t)
	e.differs = map[matrix.Package]bool{"desktop": true}
	if _, err := run.Run(t.Context()); !isRebuildError(err) {
		t.Fatalf("error %v", err)
	}
	e.differs = nil // it may come out the same by chance
	public := &fakeCachix{}
	run.publishTo(public)
	for _, without := range []string{"", "--rebuild=off"} {
		run.Rebuild.Without = without
		m, err := run.Run(t.Context())
		if isRebuildError(err) != (without == "") {
			t.Errorf("with %q: error %v", without, err)
		}
		p := m.Cells[0].Packages[0]
		// What was kept is not there: the fake keeps nothing.
		if p.Outputs[0].Rebuild != Bad || p.Difference == nil || !p.Difference.Earlier || len(p.Difference.Files) == 0 || p.Difference.Kept != nil {
			t.Errorf("with %q: package %+v", without, p)
		}
		if len(public.paths) > 0 || m.Cells[0].Publish.Verdict != Withheld {
			t.Errorf("with %q: pushed %q; publishing is %+v", without, public.paths, m.Cells[0].Publish)
		}
	}
	run.Rebuild.Without, run.Rebuild.WarnOnly = "", true
	if _, err := run.Run(t.Context()); err != nil {
		t.Errorf("with warn: %v", err)
	}
	if len(public.paths) == 0 {
		t.Error("with warn, nothing is published")
	}
}

func TestRebuildThatOnlyWarns(t *testing.T) {
	run, e, _ := newRebuilding(t)
	e.differs = map[matrix.Package]bool{"desktop": true}
	run.Rebuild.WarnOnly = true
	public := &fakeCachix{}
	run.publishTo(public)
	for i := range 2 { // it is not remembered as good: the second run warns as well
		m, err := run.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]RebuildVerdict{"desktop": Bad, "headless": Good}, rebuilds(m)); diff != "" && i == 0 {
			t.Errorf("verdicts (-want +got):\n%s", diff)
		}
		warnings := slices.DeleteFunc(of[Notice](run.recorder), func(n Notice) bool { return !strings.Contains(n.Text, "a second build differs") })
		if len(warnings) != i+1 {
			t.Errorf("run %d: %d warnings", i+1, len(warnings))
		}
	}
	if len(public.paths) == 0 {
		t.Error("nothing is published")
	}
}

// A second build that cannot be made says nothing of the first.
func TestSecondBuildThatCannotBeMade(t *testing.T) {
	run, e, _ := newRebuilding(t)
	e.cannotRebuild = "builder for '%s' failed due to signal 9 (Killed)"
	m, err := run.Run(t.Context())
	if err == nil || isRebuildError(err) || !strings.Contains(err.Error(), "killed: ") {
		t.Errorf("error %v, want one that is no difference", err)
	}
	if got := rebuilds(m)["desktop"]; got != Unknown {
		t.Errorf("verdict %q, want %q", got, Unknown)
	}
}

func TestWhatIsBuiltAgain(t *testing.T) {
	for name, test := range map[string]struct {
		rebuild Rebuilding
		verdict Verdict
		want    bool
	}{
		"built":                           {Rebuilding{}, Built, true},
		"there before":                    {Rebuilding{}, Present, true},
		"fetched":                         {Rebuilding{}, Substituted, false},
		"served":                          {Rebuilding{}, Served, false},
		"failed":                          {Rebuilding{Fetched: true}, Failed, false},
		"fetched, and asked for":          {Rebuilding{Fetched: true}, Substituted, true},
		"served, and asked for":           {Rebuilding{Fetched: true}, Served, true},
		"built, to compare with a run":    {Rebuilding{Fetched: true, NotBuilt: true}, Built, false},
		"there before, to compare with a": {Rebuilding{Fetched: true, NotBuilt: true}, Present, true},
	} {
		r := &Release{Rebuild: test.rebuild}
		packages := []PackageResult{{Package: "p", Verdict: test.verdict}}
		if got := len(r.rebuildable(packages, nil)) > 0; got != test.want {
			t.Errorf("%s: built again %t, want %t", name, got, test.want)
		}
	}
}

// A cache serves everything, and a person who asks for a proof wants it all the same. Once it is there, it is enough.
func TestProofOfWhatIsServed(t *testing.T) {
	run, e, _ := newRebuilding(t)
	run.Rebuild.Without = "not yet"
	if _, err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	run.Rebuild = Rebuilding{Fetched: true}
	m, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]RebuildVerdict{"desktop": Good, "headless": Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	run.opened = nil
	if m, err = run.Run(t.Context()); err != nil || len(run.opened) > 0 || rebuilds(m)["desktop"] != Good {
		t.Errorf("a third run opens %v, error %v, verdicts %v; want those of the second", run.opened, err, rebuilds(m))
	}
	if n := e.ran("nix-store --realise --check"); n != 1 {
		t.Errorf("%d second builds", n)
	}
}

// A store that had an output before never asks the cache for it: that it comes out the same here says nothing of what
// the cache serves.
func TestWhatACacheServesOtherwiseIsBad(t *testing.T) {
	run, e, evidence := newRebuilding(t)
	run.Rebuild.Without = "not yet"
	if _, err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := fakePath(e.system, "desktop", "")
	run.store.hashes = map[nix.StorePath]string{path: otherHash, fakePath(e.system, "headless", ""): fakeHash}
	run.Rebuild = Rebuilding{Fetched: true, Evidence: evidence}
	m, err := run.Run(t.Context())
	if !isRebuildError(err) {
		t.Fatalf("error %v, want a RebuildError", err)
	}
	for _, want := range []string{"rebuild desktop: fake store serves other contents: " + string(path), otherHash, fakeHash, "bin/tool: 4 bytes differ"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if diff := cmp.Diff(map[string]RebuildVerdict{"desktop": Bad, "headless": Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if want := []string{path.Base() + ".theirs: what the store has of " + path.Name(), path.Base() + ".ours: " + string(path)}; !slices.Equal(evidence.kept, want) {
		t.Errorf("kept %q, want %q", evidence.kept, want)
	}
	// Who asks for no second build is not told that there was one.
	run.Rebuild.Fetched = false
	if m, err = run.Run(t.Context()); err != nil || m.Cells[0].Packages[0].Reproducible() != Unknown {
		t.Errorf("without a second build: verdicts %v, error %v", rebuilds(m), err)
	}
	// It is the cache that may be wrong: once that has been mended, nothing of it is remembered.
	run.Rebuild.Fetched = true
	for hash, want := range map[string]RebuildVerdict{fakeHash: Good, otherHash: Bad} {
		run.store.hashes[path] = hash
		if m, err = run.Run(t.Context()); isRebuildError(err) != (want == Bad) || rebuilds(m)["desktop"] != want {
			t.Errorf("where the cache has %s: verdicts %v, error %v", hash, rebuilds(m), err)
		}
	}
}

// The clock of the second build shows another second, whatever reads it.
func TestSecondBuildWaitsForTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, e, _ := newRebuilding(t)
		run.Rebuild.Apart, run.Now = 2*time.Second, time.Now
		times := map[bool]time.Time{}
		e.onRealise = func(check bool) { times[check] = time.Now() }
		for i, want := range []time.Duration{2 * time.Second, 0} { // the second time, all of it was there before
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
	run.Rebuild.Elsewhere = map[matrix.System]Engines{system: enginesFunc(func() (Executor, error) { return other, nil })}
	return other
}

type enginesFunc func() (Executor, error)

func (f enginesFunc) Open(context.Context, matrix.System) (Executor, error) { return f() }

func TestSecondBuildOnAnotherEngine(t *testing.T) {
	run, e, _ := newRebuilding(t)
	other := otherEngine(run)
	other.valid[fakePath(other.system, "headless", "")] = true // from a cache, or an earlier build
	m, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]RebuildVerdict{"desktop": Good, "headless": Good}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if s := m.Cells[0].Second; s == nil || s.Engine == nil || s.Engine.Kind != "other" || !s.Emulated {
		t.Errorf("second build is recorded as %+v", s)
	}
	// Nothing is built again where the first build was; there, what it has is built as well, and nothing is fetched.
	if e.ran("nix-store --realise --check") > 0 || other.closed != 1 {
		t.Errorf("built again on the first engine; the other was closed %d times", other.closed)
	}
	drv := func(p matrix.Package) string { return string(fakePath(other.system, p, ".drv")) }
	for _, want := range []string{
		"nix-store --realise --keep-going --log-format internal-json /nix/store/" + fakeDigest + "d-stdenv.drv",
		"nix-store --realise --keep-going --log-format internal-json " + drv("desktop"),
		"nix-store --realise --check --keep-failed --keep-going --log-format internal-json " + drv("headless"),
	} {
		if !slices.Contains(other.commands, want) {
			t.Errorf("the other engine never ran %s, but\n%s", want, strings.Join(other.commands, "\n"))
		}
	}
}

func TestAnotherEngineThatBuildsSomethingElse(t *testing.T) {
	run, _, evidence := newRebuilding(t)
	other := otherEngine(run)
	other.narHash = "sha256-" + strings.Repeat("A", 43) + "="
	m, err := run.Run(t.Context())
	if !isRebuildError(err) || !strings.Contains(err.Error(), "on other, Nix 2.8.0") {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff(map[string]RebuildVerdict{"desktop": Bad, "headless": Bad}, rebuilds(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if len(evidence.kept) != 4 {
		t.Errorf("kept %q", evidence.kept)
	}
}

func TestAnotherEngineThatIsNotThere(t *testing.T) {
	run, _, _ := newRebuilding(t)
	run.Rebuild.Elsewhere = map[matrix.System]Engines{
		run.Cells[0].System: enginesFunc(func() (Executor, error) { return nil, errors.New("no answer") }),
	}
	m, err := run.Run(t.Context())
	if err == nil || isRebuildError(err) || !strings.Contains(err.Error(), "rebuild on another engine: no answer") {
		t.Errorf("error %v", err)
	}
	if got := rebuilds(m)["desktop"]; got != Unknown {
		t.Errorf("verdict %q", got)
	}
}

func TestReproducibleIsTheWorstOfAllOutputs(t *testing.T) {
	for _, test := range []struct {
		outputs []RebuildVerdict
		want    RebuildVerdict
	}{
		{nil, Unknown},
		{[]RebuildVerdict{Good}, Good},
		{[]RebuildVerdict{Good, ""}, Unknown},
		{[]RebuildVerdict{Unknown, Bad, Good}, Bad},
	} {
		var p PackageResult
		for _, v := range test.outputs {
			p.Outputs = append(p.Outputs, Output{Rebuild: v})
		}
		if got := p.Reproducible(); got != test.want {
			t.Errorf("%q is %q, want %q", test.outputs, got, test.want)
		}
	}
}

// Nix calls a store path by where it really is.
func TestLogicalPath(t *testing.T) {
	const base = fakeDigest + "0-hello"
	for _, physical := range []string{"/nix/store/" + base, filepath.Join("/mnt/root/nix/store", base)} {
		if got, err := logicalPath(physical); err != nil || got != nix.StorePath("/nix/store/"+base) {
			t.Errorf("%s: %s, %v", physical, got, err)
		}
	}
	if _, err := logicalPath("/mnt/elsewhere"); err == nil {
		t.Error("what is no store path passes for one")
	}
}
