package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// A reader sees which machine has built how much, and which of them has no sandbox.
func TestSummaryNamesRemoteBuilders(t *testing.T) {
	yes, no := true, false
	m := &run.Manifest{Cells: []run.CellResult{{
		System: "x86_64-linux", Verdict: run.Built, Engine: &engine.Engine{Kind: "host"}, Sandbox: &no,
		Machines: []run.Machine{
			{Sandbox: &yes, Built: 1}, {Builder: "ssh-ng://b", Sandbox: &no, Emulated: true, Built: 2}, {Builder: "ssh-ng://\x1b[31mc", Built: 1},
		},
	}}}
	var text bytes.Buffer
	if err := Summary(&text, m); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n  this machine: 1 built, sandbox: yes, emulated: no\n", "\n  ssh-ng://b: 2 built, sandbox: no, emulated: yes\n",
		"\n  ssh-ng://c: 1 built, sandbox: not measured, emulated: no\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the summary has no %q:\n%s", want, &text)
		}
	}
	if got := builtWhere(m.Cells[0]); !strings.Contains(got, "2 on ssh-ng") || strings.Contains(got, "\x1b") {
		t.Errorf("the summary of the step says %q", got)
	}
	m.Cells[0].Machines = m.Cells[0].Machines[:1]
	if lines := machines(m.Cells[0]); len(lines) > 0 {
		t.Errorf("without remote builders it says %q", lines)
	}
	b := buildBlock(run.BuildFinished{System: "x86_64-linux", Derivation: "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv", Machine: "ssh-ng://b"}, run.StepBuild)
	if !slices.Contains(strings.Split(b.head, "  "), "ok on ssh-ng://b") {
		t.Errorf("the end of a build is %q", b.head)
	}
}
