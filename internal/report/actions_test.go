package report_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
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
				t.Errorf("a failure is folded: %s", line)
			}
		}
	})
}

// The only commands in the output are those that we issue, wherever foreign text comes in.
func TestActionsTakesNoCommandsFromBuilds(t *testing.T) {
	ours := []string{"::group::", "::endgroup::", "::error::", "::warning::"}
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
			if strings.HasPrefix(seen, "::") || strings.Contains(seen, "##[") {
				t.Errorf("%q becomes a command: %q", text, line)
			}
		}
	}
}

// linguistic leaves out what a comparison of .NET passes over.
func linguistic(r rune) rune {
	if unicode.In(r, unicode.Cf, unicode.Cc, unicode.Variation_Selector) && !unicode.IsSpace(r) {
		return -1
	}
	return r
}

// hostile returns events with text wherever an event has any.
func hostile(text string) []pipelines.Event {
	failure := &pipelines.Failure{Kind: pipelines.FailureKind(text), Message: text, Phase: text}
	return []pipelines.Event{
		pipelines.RunStarted{ID: text, Flake: text},
		pipelines.StepStarted{Step: pipelines.StepBuild, System: x86},
		pipelines.BuildStarted{System: x86, Derivation: openssl},
		pipelines.BuildPhase{System: x86, Derivation: openssl, Phase: text},
		pipelines.BuildLine{System: x86, Derivation: openssl, Text: text},
		pipelines.BuildStalled{System: x86, Derivation: openssl, Tail: []string{text}},
		pipelines.BuildFinished{System: x86, Derivation: openssl, Tail: []string{text}, Log: text},
		pipelines.BuildFinished{System: x86, Derivation: openssl, Tail: []string{text}, Log: text, Failure: failure},
		pipelines.Notice{Level: pipelines.Info, Text: text, Hint: text},
		pipelines.Notice{Level: pipelines.Warning, System: x86, Text: text, Hint: text},
		pipelines.StepFinished{Step: pipelines.StepEvaluate, Summary: text},
		pipelines.StepFinished{Step: pipelines.StepEvaluate, Skipped: text},
		pipelines.StepFinished{Step: pipelines.StepEvaluate, Error: text},
		pipelines.RunFinished{Path: text, Manifest: &pipelines.Manifest{Cells: []pipelines.CellResult{{
			System: x86, Error: text, Engine: &pipelines.Engine{Kind: text, Version: text, Nix: nix.Version{Text: text}},
			Packages: []pipelines.PackageResult{{Package: "p", ServedBy: text, Log: text, Failure: failure}},
		}}}},
	}
}

func TestActionsOutlivesItsWriter(t *testing.T) {
	a := report.NewActions(&broken{takes: 3}, report.Options{})
	for _, m := range recorded() {
		a.Report(time.Now(), m.event)
	}
	if a.Close() == nil {
		t.Error("no error")
	}
}
