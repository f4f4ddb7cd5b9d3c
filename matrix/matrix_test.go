package matrix

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpandIsInTheOrderOfSystemsAndTakesEachOnce(t *testing.T) {
	got := Expand([]System{AArch64Linux, X8664Linux, AArch64Linux}, []Package{"b", "a", "b"})
	want := []Cell{{X8664Linux, []Package{"b", "a"}}, {AArch64Linux, []Package{"b", "a"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	if got := Expand(nil, []Package{"a"}); got != nil {
		t.Errorf("cells of no system: %v", got)
	}
}

func TestParsePackage(t *testing.T) {
	for s, ok := range map[string]bool{
		"open-sesame": true, "default": true, "a'": true, "_x1": true,
		"": false, "a.b": false, "1a": false, "a b": false, "a;b": false, "-a": false, "a\"": false,
	} {
		if _, err := ParsePackage(s); (err == nil) != ok {
			t.Errorf("ParsePackage(%q): %v, want ok %t", s, err, ok)
		}
	}
}

func TestGitHubOfNothingIsAnEmptyList(t *testing.T) {
	got, err := GitHub(nil)
	if want := `{"include":[]}`; err != nil || string(got) != want {
		t.Errorf("GitHub(nil) = %s, %v, want %s", got, err, want)
	}
}
