package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestLeftOutSystemHasAHint(t *testing.T) {
	var b bytes.Buffer
	printLeftOut(process{stderr: &b}, matrix.AArch64Linux, hint.Wrap(errors.New("no emulator"), "sudo x"))
	const want = "left out: aarch64-linux: no emulator\n  to include it: sudo x\n"
	if b.String() != want {
		t.Errorf("printed %q, want %q", &b, want)
	}
}

func TestFindingsNameTheirFix(t *testing.T) {
	var b bytes.Buffer
	err := printFindings(process{stdout: &b}, []setup.Finding{
		{Part: setup.Git, OK: true, Found: "git version 2.39.5"},
		{Part: setup.Nix, Found: "not found", Fix: "apt-get install nix-bin"},
	})
	const want = "ok       git  git version 2.39.5\nmissing  nix  not found\n              fix: apt-get install nix-bin\n"
	if err != nil || b.String() != want {
		t.Errorf("printed %q, %v, want %q", &b, err, want)
	}
}
