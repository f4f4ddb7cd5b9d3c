package report_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// outsideFences returns the lines of a page outside of fences. Each fence must have an end.
func outsideFences(t *testing.T, page string) (lines []string) {
	t.Helper()
	fence := ""
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		marks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(marks) >= 3:
			fence = marks
		case fence != "" && line == fence:
			fence = ""
		case fence == "":
			lines = append(lines, line)
		}
	}
	if fence != "" {
		t.Errorf("the fence %q has no end", fence)
	}
	return lines
}

// A page that is cut never ends within a fence, a fold or the head of a table.
func TestSummaryEndsBetweenItsParts(t *testing.T) {
	const limit, end = 1 << 20, "**The rest is left out**"
	events := failedRun()
	m := events[len(events)-1].(run.RunFinished).Manifest
	m.Cells[1].Packages[0].Difference = &run.Difference{Files: []string{"bin/a: 3 bytes", "bin/b: 4 bytes"}}
	m.Contract = append(m.Contract, contract.Result{Check: "check/it", Status: contract.Fail, Reason: "not kept"})
	cut := 0
	for room := 200; room < 8000; room += 41 {
		s := newStep(t)
		filled := bytes.Repeat([]byte("x"), limit-room)
		if err := os.WriteFile(s.summary, filled, 0o644); err != nil {
			t.Fatal(err)
		}
		_, summary := s.report(t, events...)
		if len(summary) > limit {
			t.Errorf("%d bytes of %d", len(summary)-len(filled), room)
		}
		summary = summary[len(filled):]
		if strings.Contains(summary, end) {
			cut++
		}
		lines := outsideFences(t, summary)
		for i, line := range lines {
			isHead := strings.HasPrefix(line, "| ") && (i == 0 || !strings.HasPrefix(lines[i-1], "|"))
			if isHead && !strings.HasPrefix(lines[i+1], "| -") {
				t.Errorf("room for %d bytes: a table of its head alone: %q, then %q", room, line, lines[i+1])
			}
		}
		if opened, closed := strings.Count(summary, "<details"), strings.Count(summary, "</details>"); opened != closed {
			t.Errorf("room for %d bytes: %d folds begin and %d end", room, opened, closed)
		}
		if t.Failed() {
			t.Fatalf("the page is\n%s", summary)
		}
	}
	if cut < 10 {
		t.Errorf("only %d pages had to end early", cut)
	}
}

// A file name links to a line of the flake, or is not a link.
func TestSummaryLinksToTheFlake(t *testing.T) {
	for file, want := range map[string]string{
		"flake.nix":              "(https://github.com/ScopeCreep-zip/open-sesame/blob/REV/flake.nix#L3)",
		"a b/%41?x#y.nix":        "(https://github.com/ScopeCreep-zip/open-sesame/blob/REV/a%20b/%2541%3Fx%23y.nix#L3)",
		"../../../../other/repo": "",
		"/etc/passwd":            "",
		"a/../../../..":          "",
		"x\r# heading":           "(https://github.com/ScopeCreep-zip/open-sesame/blob/REV/x%0D%23%20heading#L3)",
	} {
		m := released()
		m.Contract = []contract.Result{{Check: "check/it", Status: contract.Fail, Reason: "not kept", File: file, Line: 3}}
		_, summary := newStep(t).report(t, started(), finished(m))
		_, row, _ := strings.Cut(summary, "<code>check/it</code>")
		row, _, _ = strings.Cut(row, "\n")
		want = strings.Replace(want, "REV", m.Source.Rev, 1)
		if want != "" && !strings.Contains(row, want) || want == "" && strings.Contains(row, "](") {
			t.Errorf("%q: want %q in %s", file, want, row)
		}
	}
}
