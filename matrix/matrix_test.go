package matrix

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpandOrdersSystemsAndRemovesDuplicates(t *testing.T) {
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
		"open-sesame": true, "default": true, "a'": true, "_x1": true, "python3.11": true, "1password": true, "foo+bar": true,
		"or": true, "if": true, "with space": true, "dollar${x}": true, "ü": true, "-x": true, "a/b": true, "..": true, "a\"": true,
		strings.Repeat("x", 128): true,
		"":                       false, "a\nb": false, "a\tb": false, "a\x00": false, "\x1b[31m": false, "a\u202eb": false, "\u200b": false, "a\u00a0b": false,
		"\xff": false, "\u009b31m": false, strings.Repeat("x", 129): false,
	} {
		if _, err := ParsePackage(s); (err == nil) != ok {
			t.Errorf("ParsePackage(%q): %v, want ok %t", s, err, ok)
		}
	}
	if _, err := ParsePackage("\x1b[31m" + strings.Repeat("x", 1000)); strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 300 {
		t.Errorf("the error is not fit to be shown: %q", err)
	}
}

// No name leads to another directory, and no two lead to one file.
func TestFileName(t *testing.T) {
	safe := regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+=-]*$`)
	seen := map[string]Package{}
	for _, name := range []Package{
		"open-sesame", "python3.11", "foo+bar", "a/b", "a-b", "a b", "..", ".", "../../etc/passwd", ".hidden", "-x", "x", "ü", "üü", "dollar${x}", "a'b",
		Package(strings.Repeat("ü", 64)),
	} {
		got := name.FileName()
		if !safe.MatchString(got) || len(got) > 200 {
			t.Errorf("file of %s is %s", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s are both %s", name, other, got)
		}
		seen[got] = name
	}
	for _, name := range []Package{"open-sesame", "python3.11", "foo+bar"} {
		if got := name.FileName(); got != string(name) {
			t.Errorf("file of %s is %s", name, got)
		}
	}
}

// A workflow splits the names at spaces.
func TestGitHubRefusesNamesWithSpaces(t *testing.T) {
	if data, err := GitHub([]Cell{{X8664Linux, []Package{"a", "b c"}}}); err == nil || !strings.Contains(err.Error(), `package "b c"`) {
		t.Errorf("GitHub: %s, %v", data, err)
	}
}

func TestGitHubWithoutCellsIsAnEmptyList(t *testing.T) {
	got, err := GitHub(nil)
	if want := `{"include":[]}`; err != nil || string(got) != want {
		t.Errorf("GitHub(nil) = %s, %v, want %s", got, err, want)
	}
}
