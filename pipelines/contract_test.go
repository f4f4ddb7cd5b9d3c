package pipelines

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// writeTree gives the fake's snapshot a file.
func (run *fakeRun) writeTree(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(run.Source.(fakeSource).s.Dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenFilesOpenNoEngine(t *testing.T) {
	release := newFakeRun(t)
	release.writeTree(t, "flake.nix", "{ outputs = _: { }; }\n")
	release.Contract.Contract = &contract.Contract{NixConfig: &contract.NixConfig{Keys: []string{"key:x"}}}
	m, err := release.Run(t.Context())
	var broken *ContractError
	if !errors.As(err, &broken) || len(broken.Broken) != 1 || broken.Of != 2 {
		t.Fatalf("error %v, want a ContractError of one of two checks", err)
	}
	if len(release.opened) > 0 {
		t.Errorf("engines opened for %v, want none", release.opened)
	}
	if len(m.Contract) != 2 || len(m.Cells) != 2 || m.Cells[0].Verdict != run.Failed {
		t.Errorf("manifest %+v, want the results and two failed cells", m)
	}
	if hints := strings.Join(hint.Of(err), "\n"); hints != `flake.nix:1: nixConfig.extra-trusted-public-keys = [ "key:x" ];` {
		t.Errorf("hints %q, want the line to write", hints)
	}
	checkStepsHaveEnds(t, release)
}

func TestPositionsAreRelativeToTheTree(t *testing.T) {
	run := newFakeRun(t)
	source := run.Source.(fakeSource)
	source.s.Subdir = "nix/flake"
	run.Source = source
	if err := os.MkdirAll(flakeDir(source.s), 0o755); err != nil {
		t.Fatal(err)
	}
	run.writeTree(t, "nix/flake/flake.nix", "{ outputs = _: { }; }\n")
	run.Contract.Contract = &contract.Contract{NixConfig: &contract.NixConfig{Keys: []string{"key:x"}}}
	if _, err := run.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "nix/flake/flake.nix:1: nix-config/keys") {
		t.Errorf("error %v, want the whole path", err)
	}
}

func TestSkippedContractHasAReason(t *testing.T) {
	release := newFakeRun(t)
	release.Contract.Without = "for this reason"
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range of[run.StepFinished](release.recorder) {
		if e.Step == run.StepContract {
			n++
			if e.Skipped != "for this reason" {
				t.Errorf("skipped %q", e.Skipped)
			}
		}
	}
	if n != 2 {
		t.Errorf("%d steps have ended, want one a system", n)
	}
}

func TestAnotherContractIsCheckedAgain(t *testing.T) {
	plain, strict := ContractPolicy{Contract: &contract.Contract{}}, ContractPolicy{Contract: &contract.Contract{Strict: true}}
	keys := map[string]bool{}
	for _, terms := range []ContractPolicy{{}, plain, strict, {Contract: plain.Contract, WarnOnly: true}} {
		keys[terms.key()] = true
	}
	if len(keys) != 4 {
		t.Errorf("%d keys, want four: %v", len(keys), keys)
	}
}

func TestWrongHashHasALine(t *testing.T) {
	const (
		specified = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY="
		got       = "sha256-DqJMushKFJI+NNdKcV8oFSnFtEKMukiyMW/AnNXsqIA="
	)
	run := newFakeRun(t)
	run.writeTree(t, "package.nix", "{\n  \"nucleo-0.5.0\" = \""+specified+"\";\n}\n")
	run.engines[matrix.X8664Linux].fails["desktop"] = []string{
		"hash mismatch in fixed-output derivation '%s':\n  specified: " + specified + "\n     got:    " + got,
	}
	m, err := run.Run(t.Context())
	const line = `"nucleo-0.5.0" = "` + got + `";`
	if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, "package.nix:2: "+line) {
		t.Errorf("hints %q, want the line as it should be", hints)
	}
	want := []contract.Mismatch{{
		Derivation: fakePath(matrix.X8664Linux, "desktop", ".drv"), Specified: specified, Got: got,
		Positions: []contract.Position{{File: "package.nix", Line: 2, Text: line}},
	}}
	if diff := cmp.Diff(want, m.Cells[0].Mismatches); diff != "" {
		t.Errorf("mismatches (-want +got):\n%s", diff)
	}
}

// fakeHistory has one commit, with another lock than the tree.
type fakeHistory struct{ lock string }

func (h fakeHistory) History(_ context.Context, s run.Snapshot, _ []string, _ string, visit contract.Visit) (bool, error) {
	_, err := visit(strings.Repeat("c", 40), func(file string) ([]byte, error) {
		if file == "Cargo.lock" {
			return []byte(h.lock), nil
		}
		return os.ReadFile(filepath.Join(flakeDir(s), file))
	})
	return true, err
}

func TestUnchangedHashIsFoundInTheHistory(t *testing.T) {
	const lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/a#bbbbbbb\"\n"
	newRun := func(t *testing.T, strict bool) *fakeRun {
		run := newFakeRun(t)
		run.writeTree(t, "flake.nix", "{ outputs = _: { }; }\n")
		run.writeTree(t, "Cargo.lock", lock)
		run.writeTree(t, "a.nix", `{ outputHashes = { "a-1.0.0" = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY="; }; }`)
		run.Contract.Contract = &contract.Contract{Strict: strict, Hashes: &contract.Hashes{Lock: "Cargo.lock", Files: []string{"a.nix"}}}
		return run
	}
	ended := func(run *fakeRun, want contract.Status, reason string) {
		t.Helper()
		m, _ := run.Run(t.Context())
		for _, r := range m.Contract {
			if r.Check == "hashes/history" {
				if r.Status != want || !strings.HasPrefix(r.Reason, reason) {
					t.Errorf("%+v, want %s: %s", r, want, reason)
				}
				return
			}
		}
		t.Errorf("no result in %+v", m.Contract)
	}
	moved := fakeHistory{strings.ReplaceAll(lock, "bbbbbbb", "aaaaaaa")}
	ended(newRun(t, false), contract.Skip, "the source has no history")
	run := newRun(t, false)
	run.History = moved
	ended(run, contract.Warn, "a-1.0.0 moved from aaaaaaa to bbbbbbb")
	run = newRun(t, true)
	run.History = moved
	ended(run, contract.Fail, "a-1.0.0 moved from aaaaaaa to bbbbbbb")
	run = newRun(t, true)
	run.History = fakeHistory{lock}
	ended(run, contract.Pass, "")
}

// cancelledHistory is cut off by the end of the run.
type cancelledHistory struct{ cancel context.CancelFunc }

func (h cancelledHistory) History(ctx context.Context, _ run.Snapshot, _ []string, _ string, _ contract.Visit) (bool, error) {
	h.cancel()
	return false, ctx.Err()
}

// A run that is cancelled while it reads the history ends: it does not skip the check and continue.
func TestCancelledHistoryIsNotSkipped(t *testing.T) {
	run := newFakeRun(t)
	run.writeTree(t, "flake.nix", "{ outputs = _: { }; }\n")
	run.writeTree(t, "Cargo.lock", "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/a#bbbbbbb\"\n")
	run.writeTree(t, "a.nix", `{ outputHashes."a-1.0.0" = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY="; }`)
	run.Contract.Contract = &contract.Contract{Hashes: &contract.Hashes{Lock: "Cargo.lock", Files: []string{"a.nix"}}}
	ctx, cancel := context.WithCancel(t.Context())
	run.History = cancelledHistory{cancel}
	if _, err := run.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if len(run.opened) > 0 {
		t.Errorf("engines opened for %v, want none", run.opened)
	}
}

// failingNix is an engine whose Nix fails with a message.
type failingNix struct {
	engine.Executor
	code int
	says string
}

func (failingNix) AddPath(context.Context, string) (string, error) { return "/nix/store/source", nil }

func (f failingNix) Run(_ context.Context, c engine.Command) ([]byte, error) {
	if _, err := io.WriteString(c.Stderr, f.says); err != nil {
		return nil, err
	}
	return nil, &engine.ExitError{Program: "nix", Code: f.code, Stderr: f.says}
}

// A killed evaluation is an error of the step. It is not a failed check of the flake.
func TestKilledEvaluationIsNotAResult(t *testing.T) {
	for _, test := range []struct {
		nix  failingNix
		want bool // a result
	}{
		{failingNix{code: 1, says: "error: attribute 'x' missing\n"}, true},
		{failingNix{code: 1, says: "error: interrupted by the user\n"}, false},
		{failingNix{code: 137}, false},
		{failingNix{code: 143, says: "error: attribute 'x' missing\n"}, false},
		{failingNix{code: 139, says: ""}, true}, // a flake can make Nix overflow its stack
	} {
		run := newFakeRun(t)
		run.Contract.Contract = &contract.Contract{Outputs: contract.Outputs{DevShells: []string{"default"}}}
		c := run.newCells(run.Source.(fakeSource).s)[0]
		c.exec = test.nix
		results, err := run.checkEvaluated(t.Context(), c)
		if (err == nil) != test.want || (len(results) > 0) != test.want {
			t.Errorf("exit code %d, %q: error %v, results %+v", test.nix.code, test.nix.says, err, results)
		}
	}
}
