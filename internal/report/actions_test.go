package report_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestActions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := report.NewActions(&out, report.Options{})
		newTape(recorded()).play(a, time.Hour)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		golden(t, "actions.txt", out.Bytes())
		folded := false
		for line := range strings.Lines(out.String()) {
			folded = strings.HasPrefix(line, "::group::") || folded && line != "::endgroup::\n"
			if folded && strings.Contains(line, "✘") {
				t.Errorf("a failure is in a group: %s", line)
			}
		}
	})
}

// With one system, as in a job of a matrix, each step is a group. Failures are outside of groups.
func TestActionsOfOneSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := report.NewActions(&out, report.Options{Verbose: true})
		newTape(oneSystem()).play(a, time.Hour)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		golden(t, "actions-single.txt", out.Bytes())
		open := 0
		for line := range strings.Lines(out.String()) {
			switch {
			case strings.HasPrefix(line, "::group::"):
				open++
			case line == "::endgroup::\n":
				open--
			case open > 0 && strings.ContainsAny(line, "✘"):
				t.Errorf("a failure is in a group: %s", line)
			}
			if open < 0 || open > 1 {
				t.Fatalf("%d groups are open at %s", open, line)
			}
		}
		if open != 0 {
			t.Error("a group has no end")
		}
	})
}

// oneSystem is the cell of a run in which a package fails, and a hash is wrong.
func oneSystem() []moment {
	moments := []moment{
		{0, run.RunStarted{ID: "20260727-141200-7f3a", Flake: "github:o/r", Cells: []matrix.Cell{{System: arm, Packages: []matrix.Package{"open-sesame"}}}}},
		{at(0.5), run.Checked{Results: []contract.Result{{
			Check: "hashes/nix/package.nix/complete", Status: contract.Fail, Reason: "no hash of nucleo-0.5.0", File: "nix/package.nix", Line: 38,
		}}, WarnOnly: true}},
	}
	for _, m := range slow() {
		if e, ok := m.event.(run.BuildFinished); ok && e.Failure != nil {
			f := *e.Failure
			f.At = &run.Line{File: "src/ipc.rs", Line: 88}
			e.Failure = &f
			m.event = e
		}
		moments = append(moments, m)
	}
	return append(moments,
		moment{at(740.05), run.HashWrong{System: arm, Mismatch: contract.Mismatch{
			Derivation: openssl, Specified: "sha256-AAAA=", Got: "sha256-BBBB=",
			Positions: []contract.Position{{File: "nix/package.nix", Line: 40, Text: `hash = "sha256-BBBB=";`}, {File: "nix/package-desktop.nix", Line: 31, Text: `x = "sha256-BBBB=";`}},
		}}},
		moment{at(741), run.StepFinished{Step: run.StepEvaluate, System: arm, Error: "evaluate: undefined variable", At: &run.Line{File: "flake.nix", Line: 3}}},
		moment{at(741.2), run.RunFinished{Seconds: 741.2}},
	)
}

// Masks hide the whole secret, each of its lines, and the secret part of a key.
func TestMask(t *testing.T) {
	var out bytes.Buffer
	if err := report.Mask(&out, []string{"token-of-someone\n", "a.cachix.org-1:c2VjcmV0LWtleQ==", "one-line-of-it\nanother-line", "short", "per%cent-sign"}); err != nil {
		t.Fatal(err)
	}
	want := "::add-mask::token-of-someone\n::add-mask::a.cachix.org-1:c2VjcmV0LWtleQ==\n::add-mask::c2VjcmV0LWtleQ==\n" +
		"::add-mask::one-line-of-it%0Aanother-line\n::add-mask::one-line-of-it\n::add-mask::another-line\n::add-mask::per%25cent-sign\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
	if report.Mask(&broken{}, []string{"token-of-someone"}) == nil {
		t.Error("a mask that could not be written is not an error")
	}
}

// Foreign text never becomes a command, in any field.
func TestBuildsCannotIssueCommands(t *testing.T) {
	ours := []string{"::group::", "::endgroup::", "::error::", "::warning::"}
	withLine := regexp.MustCompile(`^::error file=[^:]*,line=1::`) // a colon in a file's name is escaped
	for _, text := range []string{
		"::set-output name=x::y",
		" \t::add-mask::x",
		"\u200b::stop-commands::x",
		"\u2003\u200d::error::x",
		"\x1b[0m::error file=x::y",
		"progress\r::add-path::/tmp",
		"one\n::set-env name=PATH::x\n  ::save-state name=x::y",
		"far in ##[set-env name=PATH]x",
		"#\u200b#\ufe0f[add-mask]x",
		"#\x00#\x1b[0m[group]x",
	} {
		var out bytes.Buffer
		a := report.NewActions(&out, report.Options{Verbose: true})
		for _, e := range hostile(text) {
			a.Report(time.Now(), e)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(out.String()) {
			seen := strings.TrimSpace(strings.Map(linguistic, line))
			for _, command := range ours {
				if rest, ok := strings.CutPrefix(line, command); ok && !strings.Contains(rest, "##[") {
					seen = ""
				}
			}
			seen = withLine.ReplaceAllString(seen, "")
			if strings.HasPrefix(seen, "::") || strings.Contains(seen, "##[") {
				t.Errorf("%q becomes a command: %q", text, line)
			}
		}
	}
}

// linguistic removes the characters that a comparison of .NET ignores.
func linguistic(r rune) rune {
	if unicode.In(r, unicode.Cf, unicode.Cc, unicode.Variation_Selector) && !unicode.IsSpace(r) {
		return -1
	}
	return r
}

// hostile returns events with a text in every field that can have one.
func hostile(text string) []run.Event {
	failure := &run.Failure{Kind: run.FailureKind(text), Message: text, Phase: text}
	return []run.Event{
		run.RunStarted{ID: text, Flake: text},
		run.StepStarted{Step: run.StepBuild, System: x86},
		run.PackageFailed{System: x86, Package: matrix.Package(text), Failure: *failure, Text: text},
		run.BuildStarted{System: x86, Derivation: openssl},
		run.BuildPhase{System: x86, Derivation: openssl, Phase: text},
		run.BuildLine{System: x86, Derivation: openssl, Text: text},
		run.BuildStalled{System: x86, Derivation: openssl, Tail: []string{text}},
		run.BuildFinished{System: x86, Derivation: openssl, Tail: []string{text}, Log: text},
		run.BuildFinished{System: x86, Derivation: openssl, Tail: []string{text}, Log: text, Failure: failure},
		run.Notice{Level: run.Info, Text: text, Hint: text},
		run.Notice{Level: run.Warning, System: x86, Text: text, Hint: text},
		run.StepFinished{Step: run.StepEvaluate, Summary: text},
		run.StepFinished{Step: run.StepEvaluate, Skipped: text},
		run.StepFinished{Step: run.StepEvaluate, Error: text, At: &run.Line{File: text, Line: 1}},
		run.HashWrong{System: x86, Mismatch: contract.Mismatch{Got: text, Specified: text, Positions: []contract.Position{{File: text, Line: 1, Text: text}}}},
		run.LogTail{System: x86, Derivation: openssl, Tail: []string{text}},
		run.LastRelease{From: text},
		run.RunFinished{Path: text, Manifest: &run.Manifest{Cells: []run.CellResult{{
			System: x86, Error: text, Engine: &engine.Engine{Kind: text, Version: text, Nix: nix.Version{Text: text}},
			Packages: []run.PackageResult{{Package: "p", ServedBy: text, Log: text, Failure: failure}},
		}}}},
	}
}

func TestActionsKeepsItsWriteError(t *testing.T) {
	a := report.NewActions(&broken{takes: 3}, report.Options{})
	for _, m := range recorded() {
		a.Report(time.Now(), m.event)
	}
	if a.Close() == nil {
		t.Error("no error")
	}
}
