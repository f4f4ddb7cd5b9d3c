package pipelines

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	// broken is Nix 2.8's message about a package that throws: the innermost error, then the frames, from the inside
	// out.
	broken = "error: Package 'desktop-1.0' is marked as broken, refusing to evaluate.\n\n       a) To allow it …\n\n       at /nix/store/%s-source/nix/desktop.nix:3:5:\n\n            2|\n            3| throw\n             | ^\n"
	// recursion is Nix 2.26's message about an error that tryEval does not catch.
	recursion = "error:\n       … while evaluating the attribute 'drvPath'\n         at /nix/store/%s-source/nix/desktop.nix:3:5:\n            2|\n            3| rec\n             | ^\n\n       error: infinite recursion encountered\n"
)

// doesNotEvaluate gives every engine a package that does not evaluate, in a tree with the file that Nix names.
func (run *fakeRun) doesNotEvaluate(t *testing.T, system matrix.System, p matrix.Package, message string, caught bool) {
	t.Helper()
	s := run.Source.(fakeSource).s
	s.NARHash = fakeHash
	run.Source = fakeSource{s}
	source, err := nix.SourcePath(fakeHash)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(message, "%s") {
		message = fmt.Sprintf(message, strings.TrimSuffix(source.Base(), "-source"))
	}
	if err := os.MkdirAll(filepath.Join(s.Dir, "nix"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "nix", "desktop.nix"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	e := run.engines[system]
	if caught {
		e.throws = map[matrix.Package]string{p: message}
	} else {
		e.aborts = map[matrix.Package]string{p: message}
	}
}

func TestPackageThatDoesNotEvaluateLeavesItsSiblingsUnharmed(t *testing.T) {
	for _, test := range []struct {
		name    string
		fail    func(t *testing.T, run *fakeRun)
		message string
		at      *run.Line
		hint    string
	}{
		{"throws", func(t *testing.T, run *fakeRun) {
			run.doesNotEvaluate(t, matrix.X8664Linux, "desktop", broken, true)
		}, "Package 'desktop-1.0' is marked as broken, refusing to evaluate.", &run.Line{File: "nix/desktop.nix", Line: 3}, ""},
		{"recursion, which is not caught", func(t *testing.T, run *fakeRun) {
			run.doesNotEvaluate(t, matrix.X8664Linux, "desktop", recursion, false)
		}, "infinite recursion encountered", &run.Line{File: "nix/desktop.nix", Line: 3}, ""},
		{"does not exist", func(t *testing.T, run *fakeRun) {
			run.engines[matrix.X8664Linux].lacks = map[matrix.Package]bool{"desktop": true}
		}, "no package desktop for x86_64-linux", nil, "the flake has headless"},
		{"has no path before it is built", func(t *testing.T, run *fakeRun) {
			run.engines[matrix.X8664Linux].placeholder = "desktop"
		}, "content-addressed derivations are not supported", nil, "leave out __contentAddressed"},
		{"crashes Nix", func(t *testing.T, run *fakeRun) {
			run.doesNotEvaluate(t, matrix.X8664Linux, "desktop", " ", false)
		}, "run nix: exit code 1", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			release := newFakeRun(t)
			cache := &fakeCachix{}
			release.publishTo(cache)
			test.fail(t, release)
			m, err := release.Run(t.Context())
			var failed *EvaluationError
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), "evaluate packages.x86_64-linux: desktop: "+strings.TrimSpace(test.message)) {
				t.Fatalf("error %v, want the evaluation's", err)
			}
			if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, test.hint) {
				t.Errorf("hints %q, want %q", hints, test.hint)
			}
			want := allVerdicts(run.Built)
			want["x86_64-linux desktop"] = run.Failed
			if diff := cmp.Diff(want, verdicts(m)); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			p := m.Cells[0].Packages[0]
			if diff := cmp.Diff(&run.Failure{Kind: run.EvaluationFailed, Message: test.message, At: test.at}, p.Failure); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
			if m.Outcome != run.OutcomeFailed || m.Cells[0].Verdict != run.Failed || run.OutcomeOf(err) != run.OutcomeFailed {
				t.Errorf("outcome %s, cell %s: want both failed", m.Outcome, m.Cells[0].Verdict)
			}
			if !slices.Contains(release.store.paths, fakePath(matrix.X8664Linux, "headless", "")) {
				t.Error("the good sibling was not exported")
			}
			if len(cache.pins) > 0 {
				t.Errorf("pinned %v", cache.pins)
			}
			events := of[run.PackageFailed](release.recorder)
			if len(events) != 1 || events[0].Package != "desktop" || events[0].System != matrix.X8664Linux || !strings.Contains(events[0].Text, test.message) {
				t.Errorf("events %+v, want one with Nix's words", events)
			}
			checkStepsHaveEnds(t, release)
			if _, err := run.ReadManifest(release.Results.Manifest.Path()); err != nil {
				t.Error(err)
			}
			release.opened = nil
			if _, err := release.Run(t.Context()); err == nil || len(release.opened) != 1 {
				t.Errorf("second run: error %v, engines opened for %v: want the failed packages to be evaluated again", err, release.opened)
			}
		})
	}
}

// If every package evaluates, one evaluation is enough. Each package that throws needs one more.
func TestNumberOfEvaluations(t *testing.T) {
	run := newFakeRun(t)
	run.doesNotEvaluate(t, matrix.X8664Linux, "desktop", broken, true)
	if _, err := run.Run(t.Context()); err == nil {
		t.Error("no error")
	}
	if n := run.engines[matrix.X8664Linux].ran(evaluate); n != 2 {
		t.Errorf("%d evaluations, want 2", n)
	}
	if n := run.engines[matrix.AArch64Linux].ran(evaluate); n != 1 {
		t.Errorf("%d evaluations for the other system, want 1", n)
	}
}

// The contract is checked for the packages that evaluate. The checks of the other packages' files are skipped.
func TestContractOfAPackageThatDoesNotEvaluate(t *testing.T) {
	all := &contract.Contract{Packages: map[matrix.Package]contract.Package{
		"desktop": {Binaries: []string{"gui"}}, "headless": {Binaries: []string{"cli"}}, "other": {},
	}}
	c, skipped := buildable(all, []run.PackageResult{
		{Package: "desktop", Failure: &run.Failure{Kind: run.EvaluationFailed}},
		{Package: "headless", Derivation: fakePath(matrix.X8664Linux, "headless", ".drv")},
	})
	want := []contract.Result{{Check: "package/desktop", Status: contract.Skip, Reason: "it does not evaluate, so that it has no files"}}
	if diff := cmp.Diff(want, skipped); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	planned := c.Planned()
	if slices.Contains(planned, "package/desktop/binaries/gui") || !slices.Contains(planned, "package/headless/binaries/cli") {
		t.Errorf("planned %q, want the checks of headless alone", planned)
	}
	if len(all.Packages) != 3 {
		t.Error("the run's own contract is changed")
	}
}

// If no package of a system evaluates, there is nothing to build.
func TestNoPackageEvaluates(t *testing.T) {
	release := newFakeRun(t)
	release.doesNotEvaluate(t, matrix.X8664Linux, "desktop", broken, true)
	release.engines[matrix.X8664Linux].lacks = map[matrix.Package]bool{"headless": true}
	m, err := release.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "desktop: Package 'desktop-1.0' is") || !strings.Contains(err.Error(), "; headless: no package headless for x86_64-linux") {
		t.Errorf("error %v, want both", err)
	}
	for _, p := range m.Cells[0].Packages {
		if p.Verdict != run.Failed || p.Failure == nil || p.Failure.Kind != run.EvaluationFailed {
			t.Errorf("package %+v, want it failed in evaluation", p)
		}
	}
	if e := release.engines[matrix.X8664Linux]; slices.ContainsFunc(e.asked, func(a asked) bool { return a.operation != evaluate }) {
		t.Errorf("commands %q", release.engines[matrix.X8664Linux].commands)
	}
}

// An error in the flake as a whole is an error of the system, not of a package.
func TestFlakeThatDoesNotEvaluate(t *testing.T) {
	for message, want := range map[string]string{
		"error: syntax error, unexpected '}'\n":                                       "evaluate packages.x86_64-linux: syntax error",
		"error: flake 'path:/x' does not provide attribute 'packages.x86_64-linux'\n": "the flake has no packages.x86_64-linux",
	} {
		release := newFakeRun(t)
		release.engines[matrix.X8664Linux].noFlake = message
		m, err := release.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if p := m.Cells[0].Packages[0]; p.Failure != nil || len(of[run.PackageFailed](release.recorder)) > 0 {
			t.Errorf("package %+v: want no failure", p)
		}
	}
}

// A killed evaluation is neither an error of the flake nor of the package that Nix evaluated last.
func TestKilledEvaluationIsNotAPackageFailure(t *testing.T) {
	release := newFakeRun(t)
	release.doesNotEvaluate(t, matrix.X8664Linux, "desktop", "error: interrupted by the user\n", false)
	m, err := release.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "interrupted by the user") {
		t.Errorf("error %v, want Nix's", err)
	}
	if p := m.Cells[0].Packages[0]; p.Failure != nil || len(of[run.PackageFailed](release.recorder)) > 0 {
		t.Errorf("package %+v: want no failure", p)
	}
}

func TestPreviewOfAPackageThatDoesNotEvaluate(t *testing.T) {
	release := newFakeRun(t)
	release.doesNotEvaluate(t, matrix.X8664Linux, "desktop", broken, true)
	m, err := release.preview(t.Context())
	if err == nil {
		t.Error("no error")
	}
	want := allVerdicts(run.ToBuild)
	want["x86_64-linux desktop"] = run.Failed
	if diff := cmp.Diff(want, verdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if m.Cells[0].Plan == nil || m.Cells[0].Packages[0].Failure == nil {
		t.Errorf("cell %+v, want a plan of the others, and the failure", m.Cells[0])
	}
}

// Nix itself evaluates the expression, with names and failures of every kind.
func TestEvaluateExpressionInNix(t *testing.T) {
	instantiate, err := exec.LookPath("nix-instantiate")
	if err != nil {
		t.Skip("there is no nix-instantiate")
	}
	names := []matrix.Package{"good", "python3.11", "1password", "foo+bar", "or", "if", "a'b", "with space", "dollar${x}", "ü", "-x", `q"b\\s`, "$${y}"}
	attributes := ""
	for _, name := range names {
		attributes += nix.Quote(string(name)) + ` = { drvPath = "/nix/store/00000000000000000000000000000000-p.drv"; out.outPath = "/nix/store/00000000000000000000000000000000-p"; };` + "\n"
	}
	attributes += `thrown = throw "no"; outputs-thrown = { drvPath = "/nix/store/00000000000000000000000000000000-p.drv"; outputs = throw "no"; }; meta-thrown = { drvPath = "/nix/store/00000000000000000000000000000000-p.drv"; out.outPath = "/nix/store/00000000000000000000000000000000-p"; meta = throw "no"; };`
	cell := matrix.Cell{Packages: append(slices.Clone(names), "thrown", "outputs-thrown", "meta-thrown", "missing")}
	eval := func(expression string) ([]byte, error) {
		cmd := exec.Command(instantiate, "--eval", "--json", "--strict", "--expr", "("+expression+") {\n"+attributes+"}")
		cmd.Env = append(os.Environ(), "NIX_REMOTE=dummy://", "NIX_STATE_DIR="+t.TempDir())
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return out, err
	}
	out, err := eval(together(listOf(cell.Packages)))
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	const path = "/nix/store/00000000000000000000000000000000-p"
	want := map[string]answered{"thrown": {Thrown: true}, "outputs-thrown": {Thrown: true}}
	for _, name := range append(names, "meta-thrown") {
		want[string(name)] = answered{Derivation: path + ".drv", Outputs: map[string]string{"out": path}}
	}
	got := map[string]answered{}
	for name, p := range a.Packages {
		p.Position = ""
		got[name] = p
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if len(a.Names) != len(names)+3 || !slices.Contains(a.Names, "dollar${x}") {
		t.Errorf("names %q", a.Names)
	}
	if _, err := eval(alone("thrown")); err == nil {
		t.Error("a package that throws does not throw alone")
	}
	if out, err := eval(alone("meta-thrown")); err != nil || !strings.Contains(string(out), `-p.drv"`) {
		t.Errorf("alone: %s, %v", out, err)
	}
}

// The one-line error includes the reason why an import from a derivation fails.
func TestBriefErrorOfAnImportFromADerivation(t *testing.T) {
	const drv = "/nix/store/say5ng549177fs9jhq4jz45yrp66cmc6-ifd.drv"
	for name, test := range map[string]struct{ text, want string }{
		"Nix 2.34": {
			"Cannot build '" + drv + "'.\n       Reason: builder failed with exit code 1.\n       Output paths:\n         /nix/store/x\n       Last 1 log lines:\n       > disk full",
			"Cannot build '" + drv + "'. Reason: builder failed with exit code 1.",
		},
		"Nix 2.26": {
			"builder for '" + drv + "' failed with exit code 1;\n       last 1 log lines:\n       > no\n       at pkgs.nix:2:8:\n            1| { }",
			"builder for '" + drv + "' failed with exit code 1",
		},
		"wrong hash": {
			"hash mismatch in fixed-output derivation '" + drv + "':\n         specified: sha256-A\n            got:    sha256-B\n       at flake.nix:1:2:\n            1| { }",
			"hash mismatch in fixed-output derivation '" + drv + "': specified: sha256-A got: sha256-B",
		},
		"thrown": {"it is broken\n       see " + drv + "\n       at flake.nix:1:2:", "it is broken"},
	} {
		f, text := evaluationFailure(&EvaluationError{System: matrix.X8664Linux, Text: test.text})
		if f.Message != test.want || f.Kind != run.EvaluationFailed || text != test.text {
			t.Errorf("%s: %s %q, want %q", name, f.Kind, f.Message, test.want)
		}
	}
}

// Without names, all derivations are built, each once: default is another name of one of them.
func TestWithoutNamesAllPackagesAreBuilt(t *testing.T) {
	for name, change := range map[string]func(release *fakeRun){
		"":        func(*fakeRun) {},
		"default": func(release *fakeRun) { release.engines[matrix.X8664Linux].sameAsDefault = "desktop" },
	} {
		t.Run(name, func(t *testing.T) {
			release := newFakeRun(t)
			release.Cells = matrix.Expand(matrix.DefaultSystems(), nil)
			change(release)
			m, err := release.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(allVerdicts(run.Built), verdicts(m)); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			// The record has the results of all packages for the next run.
			release.opened = nil
			release.Served = []ServingCache{release.store}
			if _, err := release.Run(t.Context()); err != nil || len(release.opened) > 0 {
				t.Errorf("second run: error %v, engines opened for %v: want none", err, release.opened)
			}
		})
	}
}

// Without names, a package that does not evaluate fails, and the others are built.
func TestWithoutNamesAPackageThatDoesNotEvaluateFails(t *testing.T) {
	for _, caught := range []bool{true, false} {
		release := newFakeRun(t)
		release.Cells = matrix.Expand(matrix.DefaultSystems(), nil)
		release.doesNotEvaluate(t, matrix.X8664Linux, "desktop", recursion, caught)
		m, err := release.Run(t.Context())
		if !isEvaluationError(err) {
			t.Errorf("error %v, want the evaluation's", err)
		}
		want := allVerdicts(run.Built)
		want["x86_64-linux desktop"] = run.Failed
		if diff := cmp.Diff(want, verdicts(m)); diff != "" {
			t.Errorf("verdicts (-want +got):\n%s", diff)
		}
	}
}

const noX8664 = "error: flake 'path:/x' does not provide attribute 'packages.x86_64-linux'\n"

// A system that the flake has no packages for is left out, unless the user named it or no other is left.
func TestSystemWithoutPackages(t *testing.T) {
	for name, test := range map[string]struct {
		every bool
		lacks []matrix.System
		empty bool // packages.<system> is there, without a package
		// unable is a system whose builders the machine cannot run.
		unable matrix.System
		lists  []string // the names that Nix lists below packages
		want   string
	}{
		"thrown words":                     {every: true, lacks: []matrix.System{matrix.X8664Linux}, lists: []string{"aarch64-linux", "x86_64-linux"}, want: "the flake has packages for the system"},
		"a package with the name packages": {every: true, lacks: []matrix.System{matrix.X8664Linux}, lists: []string{"drvPath", "type"}, want: "the flake has no packages.x86_64-linux"},
		"left out":                         {every: true, lacks: []matrix.System{matrix.X8664Linux}},
		"empty":                            {every: true, lacks: []matrix.System{matrix.X8664Linux}, empty: true},
		"no emulator":                      {every: true, lacks: []matrix.System{matrix.X8664Linux}, unable: matrix.X8664Linux},
		"has some":                         {every: true, unable: matrix.X8664Linux, want: "build for x86_64-linux on aarch64-linux: no emulator is registered"},
		"named":                            {lacks: []matrix.System{matrix.X8664Linux}, want: "the flake has no packages.x86_64-linux"},
		"none at all":                      {every: true, lacks: matrix.DefaultSystems(), want: "the flake has no packages for any of the systems"},
	} {
		t.Run(name, func(t *testing.T) {
			release := newFakeRun(t)
			cache := &fakeCachix{}
			release.publishTo(cache)
			release.Cells, release.EverySystem = matrix.Expand(matrix.DefaultSystems(), nil), test.every
			for _, system := range test.lacks {
				release.engines[system].systems = test.lists
				if release.engines[system].noFlake = noX8664; test.empty {
					release.engines[system].noFlake, release.engines[system].lacks = "", map[matrix.Package]bool{"desktop": true, "headless": true}
				}
			}
			if e := release.engines[test.unable]; e != nil {
				e.engine.Native, e.engine.Emulator = matrix.AArch64Linux, ""
			}
			m, err := release.Run(t.Context())
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || run.OutcomeOf(err) != run.OutcomeFailed || len(cache.pins) > 0 {
					t.Errorf("error %v, want %q; pins %v", err, test.want, cache.pins)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Cells) != 1 || m.Cells[0].System != matrix.AArch64Linux || m.Outcome != run.OutcomeGood || len(cache.pins) != 2 {
				t.Errorf("outcome %s, cells %+v, pins %v", m.Outcome, m.Cells, cache.pins)
			}
			skipped := slices.ContainsFunc(of[run.StepFinished](release.recorder), func(e run.StepFinished) bool {
				return e.Step == run.StepEvaluate && e.System == matrix.X8664Linux && e.Skipped == "the flake has no packages.x86_64-linux"
			})
			if !skipped {
				t.Error("the run does not say that it leaves the system out")
			}
		})
	}
}
