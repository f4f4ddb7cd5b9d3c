package reproduce

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	drv   = nix.StorePath("/nix/store/00000000000000000000000000000001-p.drv")
	other = nix.StorePath("/nix/store/00000000000000000000000000000002-p.drv")
	out   = nix.StorePath("/nix/store/00000000000000000000000000000003-p")
)

var hashA, hashB = hashOf("A"), hashOf("B")

// narOf is the NAR of a file with a text.
func narOf(text string) (nar []byte) {
	for _, word := range []string{"nix-archive-1", "(", "type", "regular", "contents", "built by " + text, ")"} {
		nar = binary.LittleEndian.AppendUint64(nar, uint64(len(word)))
		nar = append(append(nar, word...), make([]byte, -len(word)&7)...)
	}
	return nar
}

func hashOf(text string) string {
	digest := nar.NewDigest()
	_, _ = digest.Write(narOf(text)) // never fails
	return digest.Hash().SRI()
}

// cache is a fake with NARs of one file.
type cache map[nix.StorePath]string

func (c cache) Name() string { return "fake cache" }

func (c cache) Infos(context.Context, []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	infos := map[nix.StorePath]nix.PathInfo{}
	for path, text := range c {
		hash, err := nix.ParseHash(text)
		if err != nil {
			return nil, err
		}
		infos[path] = nix.PathInfo{Path: path, NARHash: hash}
	}
	return infos, nil
}

func (c cache) Dump(_ context.Context, w io.Writer, path nix.StorePath) error {
	text := "A"
	if c[path] == hashB {
		text = "B"
	}
	_, err := w.Write(narOf(text))
	return err
}

type deaf struct{ cache }

func (deaf) Infos(context.Context, []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	return nil, errors.New("no answer")
}

// runOf is a run of one package.
func runOf(p run.PackageResult, caches ...run.NARHasher) Run {
	p.Package = "p"
	return Run{
		Name: "m.json", Caches: caches,
		Manifest: &run.Manifest{Cells: []run.CellResult{{
			System: matrix.X8664Linux, Packages: []run.PackageResult{p}, Error: "why it ended",
		}}},
		Derivations: func(context.Context, matrix.System) (drvdiff.Reader, error) { return drvdiff.Texts{}, nil },
	}
}

func output(hash string, rebuild run.RebuildVerdict) []run.Output {
	return []run.Output{{Name: "out", Path: out, NARHash: hash, Rebuild: rebuild}}
}

func failure(kind run.FailureKind, code int) *run.Failure {
	return &run.Failure{Kind: kind, ExitCode: code, Message: "with a path of this machine in it"}
}

func TestVerdicts(t *testing.T) {
	built := run.PackageResult{Verdict: run.Built, Derivation: drv, Outputs: output(hashA, "")}
	failed := run.PackageResult{Verdict: run.Failed, Derivation: drv, Failure: failure(run.BuilderFailed, 1)}
	broken := run.PackageResult{Verdict: run.Failed, Failure: failure(run.EvaluationFailed, 0)}
	with := func(p run.PackageResult, change func(*run.PackageResult)) run.PackageResult {
		change(&p)
		return p
	}
	inPhase := func(phase string) run.PackageResult {
		return with(failed, func(p *run.PackageResult) {
			p.Failure = failure(run.BuilderFailed, 1)
			p.Failure.Phase = phase
		})
	}
	by := func(dependency nix.StorePath) run.PackageResult {
		return with(failed, func(p *run.PackageResult) {
			p.Failure = failure(run.DependencyFailed, 1)
			p.Failure.Derivation = dependency
		})
	}
	twice := with(built, func(p *run.PackageResult) {
		p.Difference = &run.Difference{Reason: "a second build differs"}
	})
	served := with(built, func(p *run.PackageResult) { p.Verdict, p.Outputs = run.Served, output("", "") })
	for name, test := range map[string]struct {
		a, b   run.PackageResult
		theirs []run.NARHasher
		want   Verdict
		reason string
	}{
		"the same": {a: built, b: built, want: Pass},
		"the same, there before and built again": {
			a: built, b: with(built, func(p *run.PackageResult) {
				p.Verdict, p.Outputs = run.Present, output(hashA, run.Good)
			}), want: Pass,
		},
		"the same, and not built here": {
			a: built, b: with(built, func(p *run.PackageResult) { p.Verdict = run.Substituted }),
			want: Unknown, reason: "it was substituted, not built here",
		},
		"the same hash as there, but another one when it was built again": {
			a: built, b: with(built, func(p *run.PackageResult) {
				p.Verdict, p.Outputs, p.Difference = run.Present, output(hashA, run.Bad), &run.Difference{Reason: "a second build differs"}
			}), want: OtherContents, reason: "a second build differs",
		},
		"other bits": {
			a: built, b: with(built, func(p *run.PackageResult) { p.Outputs = output(hashB, "") }),
			want: OtherContents, reason: "are in none of the caches",
		},
		"another derivation": {a: built, b: with(built, func(p *run.PackageResult) { p.Derivation = other }), want: OtherDerivation},
		"another path the derivation is the same": {
			a: built, b: with(built, func(p *run.PackageResult) {
				p.Outputs = []run.Output{{Name: "out", Path: out + "x", NARHash: hashA}}
			}), want: Unknown, reason: "the derivation is the same",
		},
		"not evaluated there":         {a: run.PackageResult{Verdict: run.Failed}, b: built, want: Unknown, reason: "that run did not evaluate it"},
		"not evaluated here":          {a: built, b: run.PackageResult{Verdict: run.Failed}, want: Failed, reason: "why it ended"},
		"does not evaluate, as there": {a: broken, b: broken, want: SameFailure, reason: "evaluation failed"},
		"does not evaluate there":     {a: broken, b: built, want: OtherOutcome, reason: "manifest: evaluation failed; here: built"},
		"does not evaluate here":      {a: built, b: broken, want: Failed, reason: "evaluation failed"},
		"cached there, and in no cache now": {
			a: served, b: built, theirs: []run.NARHasher{deaf{}, cache{}}, want: Unknown, reason: "none of the caches has it now",
		},
		"cached there, by a cache that has the same": {
			a: served, b: built, theirs: []run.NARHasher{cache{out: hashA}}, want: Pass, reason: "the hash is from fake cache",
		},
		"served there, by a cache that has another": {a: served, b: built, theirs: []run.NARHasher{cache{out: hashB}}, want: OtherContents},
		"fails as there": {a: failed, b: failed, want: SameFailure, reason: "builder failed, exit code 1"},
		"fails with another exit code": {
			a: failed, b: with(failed, func(p *run.PackageResult) { p.Failure = failure(run.BuilderFailed, 2) }),
			want: OtherOutcome, reason: "manifest: builder failed, exit code 1; here: builder failed, exit code 2",
		},
		"fails in another phase": {
			a: inPhase("buildPhase"), b: inPhase("checkPhase"),
			want: OtherOutcome, reason: "manifest: builder failed in buildPhase, exit code 1; here: builder failed in checkPhase, exit code 1",
		},
		"fails by the same dependency": {
			a: by(other), b: by(other), want: SameFailure, reason: "dependency failed, exit code 1 of " + string(other),
		},
		"fails by another dependency": {
			a: by(other), b: by(out), want: OtherOutcome, reason: "manifest: dependency failed, exit code 1 of " + string(other) + "; here: ",
		},
		"was stopped there": {
			a: with(failed, func(p *run.PackageResult) { p.Failure = failure(run.Interrupted, 0) }), b: built,
			want: Unknown, reason: "stopped before its end",
		},
		"not reproducible there, and other bits here": {
			a: twice, b: with(built, func(p *run.PackageResult) { p.Outputs = output(hashB, "") }),
			want: SameFailure, reason: "not the same here either",
		},
		"not reproducible, here as there": {a: twice, b: twice, want: SameFailure, reason: "not the same here either"},
		"reproducible here alone":         {a: twice, b: built, want: OtherOutcome, reason: "a second build differed there, and is the same here"},
		"failed there, built here":        {a: failed, b: built, want: OtherOutcome, reason: "manifest: builder failed, exit code 1; here: built"},
		"built there, failed here":        {a: built, b: failed, want: OtherOutcome, reason: "manifest: built; here: builder failed, exit code 1"},
		"no memory here": {
			a: built, b: with(failed, func(p *run.PackageResult) { p.Failure = failure(run.OutOfMemory, 137) }),
			want: Failed, reason: "out of memory",
		},
		"not reached there": {a: with(failed, func(p *run.PackageResult) { p.Failure = nil }), b: built, want: Unknown, reason: "stopped before its end"},
		"not come to here":  {a: built, b: with(failed, func(p *run.PackageResult) { p.Failure = nil }), want: Failed},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Compare(t.Context(), runOf(test.a, test.theirs...), runOf(test.b))
			if err != nil {
				t.Fatal(err)
			}
			p := r.Packages[0]
			if p.Verdict != test.want || !strings.Contains(p.Reason, test.reason) {
				t.Errorf("%s: %q, want %s: …%s…", p.Verdict, p.Reason, test.want, test.reason)
			}
			if good := test.want == Pass || test.want == SameFailure; r.Good != good || (r.Err() == nil) != good {
				t.Errorf("good %t, error %v", r.Good, r.Err())
			}
			var differ *DifferenceError
			if got, want := errors.As(r.Err(), &differ), slices.Contains([]Verdict{OtherDerivation, OtherContents, OtherOutcome}, test.want); got != want {
				t.Errorf("a difference: %t, want %t: %v", got, want, r.Err())
			}
			if text := r.String(); !strings.HasPrefix(text, string(test.want)+"  x86_64-linux  p") {
				t.Error(text)
			}
		})
	}
}

// Contents are compared if caches of both sides have them with the hashes of the runs.
func TestContents(t *testing.T) {
	a := run.PackageResult{Verdict: run.Built, Derivation: drv, Outputs: output(hashA, "")}
	b := run.PackageResult{Verdict: run.Built, Derivation: drv, Outputs: output(hashB, "")}
	r, err := Compare(t.Context(), runOf(a, deaf{}, cache{out: hashB}, cache{out: hashA}), runOf(b, cache{out: hashB}))
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Packages[0]; len(p.Contents) != 1 || len(p.Contents[0].Outputs[0].Differences) != 1 {
		t.Fatalf("%+v", p)
	}
	text := r.String()
	for _, want := range []string{"-built by A", "+built by B", "    manifest: " + hashA, "    here:     " + hashB} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Compare(ctx, runOf(a, deaf{}), runOf(b)); err == nil {
		t.Error("a context that is done goes unheard")
	}
}

func TestChecks(t *testing.T) {
	p := run.PackageResult{Verdict: run.Built, Derivation: drv, Outputs: output(hashA, "")}
	a, b := runOf(p), runOf(p)
	a.Manifest.Contract = []contract.Result{{Check: "lock/inputs", Status: contract.Pass}, {Check: "lock/age", Status: contract.Pass}}
	b.Manifest.Contract = []contract.Result{{Check: "lock/inputs", Status: contract.Skip}, {Check: "nix-config/reported-keys", Status: contract.Fail}}
	x86 := matrix.X8664Linux
	a.Manifest.Cells[0].Contract = []contract.Result{
		{Check: "same", System: x86, Status: contract.Fail, Reason: "there"}, {Check: "gone", System: x86, Status: contract.Pass},
	}
	b.Manifest.Cells[0].Contract = []contract.Result{
		{Check: "same", System: x86, Status: contract.Fail, Reason: "here"}, {Check: "new\x1b[2J", System: x86, Status: contract.Fail, Reason: "why"},
	}
	a.Manifest.Cells[0].Engine = &engine.Engine{Kind: "dagger", Image: "nixos/nix@sha256:1", Cores: 4}
	b.Manifest.Cells[0].Engine = &engine.Engine{Kind: "host", Cores: 4}
	b.Manifest.Settings = nix.Settings{"cores": "0"}
	r, err := Compare(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	var differ *DifferenceError
	if !errors.As(r.Err(), &differ) || differ.Differ != 0 || differ.Checks != 3 || r.Compared != 4 {
		t.Errorf("%v, %+v", r.Err(), r.Checks)
	}
	if want := "reproduce m.json: 3 checks of the contract with another result"; r.Err().Error() != want {
		t.Errorf("error %q, want %q", r.Err(), want)
	}
	text := r.String()
	const want = `PASS  x86_64-linux  p  /nix/store/00000000000000000000000000000003-p
contract: 1 of 4 checks have the same result
  gone on x86_64-linux: PASS in the manifest, none here: this run did not make this check
  new on x86_64-linux: none in the manifest, FAIL here: the run of the manifest did not make this check
  lock/inputs: PASS in the manifest, SKIP here
conditions that differ (they should not matter):
  settings.cores               manifest: -
                               here:     0
  x86_64-linux engine.kind     manifest: dagger
                               here:     host
  x86_64-linux engine.image    manifest: nixos/nix@sha256:1
                               here:     -
`
	if text != want {
		t.Errorf("%s", text)
	}
}

func TestMissingSystems(t *testing.T) {
	a := runOf(run.PackageResult{})
	b := runOf(run.PackageResult{})
	b.Manifest.Cells[0].System = matrix.AArch64Linux
	if _, err := Compare(t.Context(), a, b); err == nil || !strings.Contains(err.Error(), "its manifest does not have system aarch64-linux") {
		t.Errorf("error %v", err)
	}
	a.Manifest.Cells[0].Packages = nil
	b.Manifest.Cells[0].System = matrix.X8664Linux
	if r, err := Compare(t.Context(), a, b); err != nil || r.Good || r.Err() == nil {
		t.Errorf("no packages at all: %+v, %v", r, err)
	}
}
