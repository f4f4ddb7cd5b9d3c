package contract

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestParseUnit(t *testing.T) {
	got := parseUnit(`# a comment = no directive
[Unit]
After=a.service
After = b.service
[Service]
ExecStart=
ExecStart=/nix/store/x/bin/d --flag=\
  value
CapabilityBoundingSet=
Environment=A=1
; another
`)
	want := directives{
		"After":                 {"a.service", "b.service"},
		"ExecStart":             {"/nix/store/x/bin/d --flag=   value"},
		"CapabilityBoundingSet": {""},
		"Environment":           {"A=1"},
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestSatisfies(t *testing.T) {
	for _, test := range []struct {
		found, wanted []string
		want          bool
	}{
		{[]string{"notify"}, []string{"notify"}, true},
		{[]string{"notify-reload"}, []string{"notify"}, false},
		{[]string{"yes"}, []string{"true"}, true},
		{[]string{"off"}, []string{"true"}, false},
		{[]string{"30"}, []string{"*"}, true},
		{[]string{""}, []string{"*"}, false},
		{[]string{""}, []string{""}, true},
		{[]string{"CAP_KILL"}, []string{""}, false},
		{[]string{"%t/pds %h/.config/pds"}, []string{"%t/pds", "%h/.config/pds"}, true},
		{[]string{"%t/pds", "%h/.config/pds", "%h/more"}, []string{"%h/.config/pds", "%t/pds"}, true},
		{[]string{"%t/pds"}, []string{"%t/pds", "%h/.config/pds"}, false},
		{[]string{"RUST_LOG=info", "RUST_BACKTRACE=1"}, []string{"RUST_LOG=info"}, true},
		{nil, []string{"true"}, false},
		{[]string{"1"}, []string{"true"}, true},
		{[]string{"T"}, []string{"true"}, true},
		{[]string{"0"}, []string{"true"}, false},
		{[]string{"0"}, []string{"false"}, true},
		{[]string{"no"}, []string{"0"}, false}, // a limit
		{[]string{"true"}, []string{"1"}, false},
		{[]string{"truely"}, []string{"true"}, false},
	} {
		if got := satisfies(test.found, test.wanted); got != test.want {
			t.Errorf("satisfies(%q, %q) = %t", test.found, test.wanted, got)
		}
	}
}

// An error of this machine is not a reason to skip the check of units.
func TestVerifyFailsIfUnitsCannotBeWritten(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "systemd-analyze"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	t.Setenv("TMPDIR", filepath.Join(bin, "none"))
	const out = "/nix/store/00000000000000000000000000000000-p"
	c := &Contract{Packages: map[matrix.Package]Package{"p": {Units: []string{"a.service"}}}, Units: &Units{Dir: "units", Verify: true}}
	b := &built{
		Contract: c, build: Build{Outputs: map[matrix.Package]nix.StorePath{"p": out}},
		files: Files{out: {Mode: fs.ModeDir}, out + "/units": {Mode: fs.ModeDir}, out + "/units/a.service": {Data: []byte("[Service]\n")}},
	}
	if found := named("units/verify", b.verify()); len(found) != 1 || found[0].Status != Fail {
		t.Errorf("results %+v, want a failure", found)
	}
}
