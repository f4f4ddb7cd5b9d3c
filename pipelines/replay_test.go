package pipelines

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// replayOf is what a capsule has of a package of the fake flake.
func replayOf(dir string, p matrix.Package) (Replaying, nix.StorePath) {
	drv := fakePath(matrix.X8664Linux, p, ".drv")
	return Replaying{
		System: matrix.X8664Linux, Dir: dir, Export: "derivations.export",
		Packages: []PackageResult{{
			Package: p, Verdict: Failed, Derivation: drv, Failure: &Failure{Kind: BuilderFailed},
			Outputs: []Output{{Name: "out", Path: fakePath(matrix.X8664Linux, p, "")}},
		}},
	}, drv
}

func TestReplay(t *testing.T) {
	for name, test := range map[string]struct {
		set   func(*fakeEngine)
		again bool
		want  FailureKind
	}{
		"fails":          {set: func(e *fakeEngine) { e.fails["desktop"] = []string{builderFailed} }, want: BuilderFailed},
		"does not fail":  {set: func(*fakeEngine) {}},
		"an input fails": {set: func(e *fakeEngine) { e.fails["stdenv"] = []string{builderFailed} }, want: BuilderFailed},
		"differs":        {set: func(e *fakeEngine) { e.differs = map[matrix.Package]bool{"desktop": true} }, again: true, want: NotReproducible},
		"is built once":  {set: func(e *fakeEngine) { e.differs = map[matrix.Package]bool{"desktop": true} }},
		"is there, and differs": {set: func(e *fakeEngine) {
			e.valid[fakePath(e.system, "desktop", "")] = true
			e.differs = map[matrix.Package]bool{"desktop": true}
		}, want: NotReproducible},
	} {
		t.Run(name, func(t *testing.T) {
			run := newFakeRun(t)
			run.Cells, run.Rebuild = run.Cells[:1], Rebuilding{}
			e := run.engines[matrix.X8664Linux]
			test.set(e)
			what, _ := replayOf(t.TempDir(), "desktop")
			what.Again = test.again
			results, err := run.Replay(t.Context(), []Replaying{what})
			if err != nil {
				t.Fatal(err)
			}
			var kinds []FailureKind
			for _, f := range results[0].Failures {
				kinds = append(kinds, f.Kind)
			}
			if want := slices.DeleteFunc([]FailureKind{test.want}, func(k FailureKind) bool { return k == "" }); !slices.Equal(kinds, want) {
				t.Errorf("failures %q, want %q\n%s", kinds, want, strings.Join(e.commands, "\n"))
			}
			if !slices.Contains(e.placed, what.Dir) || e.ran("nix eval") > 0 || len(run.store.paths) > 0 || e.closed != 1 {
				t.Errorf("placed %q, %d evaluations, exported %q, closed %d times", e.placed, e.ran("nix eval"), run.store.paths, e.closed)
			}
			if results[0].Sandbox == nil || results[0].Engine == nil || what.Packages[0].Failure == nil {
				t.Errorf("result %+v; the capsule's own package is %+v", results[0], what.Packages[0])
			}
		})
	}
}

// What keeps a replay from its end is an error, and no result.
func TestReplayThatCannotBeMade(t *testing.T) {
	run := newFakeRun(t)
	run.Cells, run.openErr = run.Cells[:1], errors.New("no answer")
	what, _ := replayOf(t.TempDir(), "desktop")
	if _, err := run.Replay(t.Context(), []Replaying{what}); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("error %v", err)
	}
	run.openErr = nil
	run.engines[matrix.X8664Linux].dies = true
	if _, err := run.Replay(t.Context(), []Replaying{what}); err == nil || !strings.Contains(err.Error(), "connection reset") {
		t.Errorf("error %v", err)
	}
}

// One system that cannot be built takes nothing from what another one came to.
func TestReplayOfTwoSystemsOfWhichOneCannotBeBuilt(t *testing.T) {
	run := newFakeRun(t)
	run.Rebuild = Rebuilding{}
	run.engines[matrix.X8664Linux].fails["desktop"] = []string{builderFailed}
	run.engines[matrix.AArch64Linux].dies = true
	here, drv := replayOf(t.TempDir(), "desktop")
	there := here
	there.System = matrix.AArch64Linux
	results, err := run.Replay(t.Context(), []Replaying{here, there})
	if err == nil || !strings.HasPrefix(err.Error(), string(matrix.AArch64Linux)+": ") {
		t.Errorf("error %v", err)
	}
	for _, r := range results {
		switch r.System {
		case matrix.X8664Linux:
			if r.Err != nil || r.Failures[drv] == nil {
				t.Errorf("%s came to %v, %v", r.System, r.Failures, r.Err)
			}
		case matrix.AArch64Linux:
			if r.Err == nil || !strings.Contains(r.Err.Error(), "connection reset") {
				t.Errorf("%s has the error %v", r.System, r.Err)
			}
		}
	}
	if len(results) != 2 {
		t.Errorf("%d results", len(results))
	}
}
