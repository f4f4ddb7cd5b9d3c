package nix_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

var drvNames = map[string][2]string{
	"hello-2.12.1":               {"hello", "2.12.1"},
	"open-sesame-desktop-1.14.2": {"open-sesame-desktop", "1.14.2"},
	"foo-1.2-dev":                {"foo", "1.2-dev"},
	"foo":                        {"foo", ""},
	"foo-":                       {"foo-", ""},
	"foo-a1-2b":                  {"foo-a1", "2b"},
	"-1":                         {"", "1"},
	"foo--1":                     {"foo", "-1"},
	"x-_1":                       {"x", "_1"},
	"x-.5":                       {"x", ".5"},
	"x-?":                        {"x", "?"},
	"x-=":                        {"x", "="},
	"a+b-Z1-0+git":               {"a+b-Z1", "0+git"},
	"source.tar.gz":              {"source.tar.gz", ""},
	"-":                          {"-", ""},
}

func TestParseDrvName(t *testing.T) {
	for s, want := range drvNames {
		if name, version := nix.ParseDrvName(s); name != want[0] || version != want[1] {
			t.Errorf("ParseDrvName(%q) = %q, %q, want %q", s, name, version, want)
		}
	}
}

// Nix itself parses the same names.
func TestParseDrvNameAsNix(t *testing.T) {
	if _, err := exec.LookPath("nix-instantiate"); err != nil {
		t.Skip("needs Nix: apt-get install nix-bin")
	}
	names, err := json.Marshal(slices.Collect(func(yield func(string) bool) {
		for s := range drvNames {
			if !yield(s) {
				return
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nix-instantiate", "--eval", "--strict", "--json", "--argstr", "names", string(names),
		"--expr", "{ names }: map (n: { whole = n; } // builtins.parseDrvName n) (builtins.fromJSON names)")
	cmd.Env = append(os.Environ(), "NIX_REMOTE=local?root="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []struct{ Whole, Name, Version string }
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != len(drvNames) {
		t.Fatalf("%d answers, want %d", len(answers), len(drvNames))
	}
	for _, a := range answers {
		if want := drvNames[a.Whole]; a.Name != want[0] || a.Version != want[1] {
			t.Errorf("Nix takes %q for %q, %q; the test for %q", a.Whole, a.Name, a.Version, want)
		}
	}
}
