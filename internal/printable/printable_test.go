package printable_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext":                 "plain\ttext",
		"größer ✔ 日本":                 "größer ✔ 日本",
		"a\x1b]52;c;ZXZpbA==\x07b":    "ab",       // the clipboard
		"a\x1b]0;title\x1b\\b":        "ab",       // the title
		"a\x1b[2J\x1b[1;1Hb":          "ab",       // the screen
		"a\x1bP$q\x1b\\b":             "a$qb",     // a device control string
		"a\x9b31mb":                   "a31mb",    // a control of 8 bits, and no UTF-8
		"a\u009b31mb":                 "a31mb",    // the same as a character
		"good\rEVIL":                  "goodEVIL", // overwritten
		"a\x00\x07\x08\x7fb":          "ab",
		"a\u202eb\u2066c\u200f\u061c": "abc",  // the direction of text
		"a\u200bb\u2060c\ufeffd":      "abcd", // no width
		"a\U000e0041\U000e0001b":      "ab",   // tags
		"one\u2028two\u2029three":     "one two three",
		"a\xff\xfeb":                  "ab",
		"two\nlines\n":                "two lines",
	} {
		if got := printable.Line(text); got != want {
			t.Errorf("Line(%q) = %q, want %q", text, got, want)
		}
	}
}

// A command for GitHub's runner, as the runner's code defines it, is not a command afterwards.
func TestDisarm(t *testing.T) {
	for line, want := range map[string]string{
		"::error::x":                "> ::error::x",
		" \t\u00a0\u2003::error::x": "> \t\u00a0\u2003::error::x",
		"\u0301:\u0301:error::x":    "> \u0301:\u0301:error::x", // even if a comparison ignores the marks
		"far in ##[error]x":         "far in ## [error]x",
		"####[error]##[group]":      "#### [error]## [group]",
		"#\u0301#[error]":           "#\u0301# [error]",
		"std::string a::b, x ::y":   "std::string a::b, x ::y",
		"# [heading] ## two [x]":    "# [heading] ## two [x]",
		": one":                     ": one",
	} {
		if got := printable.Disarm(line); got != strings.Replace(want, "> \t", ">  \t", 1) {
			t.Errorf("Disarm(%q) = %q, want %q", line, got, want)
		}
	}
	if got, want := printable.Log("error: x\n::stop-commands::y\n\n##[z]\n"), "error: x\n> ::stop-commands::y\n\n## [z]\n"; got != want {
		t.Errorf("Log = %q, want %q", got, want)
	}
}

// JSON keeps each value, and has none of the characters that are not shown.
func TestJSONKeepsValuesAndEscapesThem(t *testing.T) {
	const text = "\x1b]52;c;x\x07 \u009b31m \u202eevil\u2069 \u2028 \u200b \U000e0041 ##[error] <&> \\##[x] größer 日本\n"
	for _, indent := range []string{"", "  "} {
		data, err := printable.JSON(map[string]string{text: text}, indent)
		if err != nil {
			t.Fatal(err)
		}
		if got := printable.Log(string(data)); got != string(data) {
			t.Errorf("shown, it is\n%q and not\n%q", got, data)
		}
		var back map[string]string
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if back[text] != text {
			t.Errorf("the value is %q, want %q", back, text)
		}
	}
	if _, err := printable.JSON(func() {}, ""); err == nil {
		t.Error("a function is no error")
	}
}

// For any text, cleaning it again changes nothing, and JSON of it can be shown.
func FuzzLog(f *testing.F) {
	for _, text := range []string{"\x1b[0m::x::", "#\x00##[[x]", ":\u200b:a", "\x1b\x1b[[mm::error::", "a\r\n::b", "\xf3\xa0\x80"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		clean := printable.Log(text)
		if again := printable.Log(clean); again != clean {
			t.Errorf("Log(%q) = %q, and cleaned again %q", text, clean, again)
		}
		for line := range strings.SplitSeq(clean, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") || strings.ContainsAny(line, "\x1b\r\u202e") {
				t.Errorf("Log(%q) has the line %q", text, line)
			}
		}
		data, err := printable.JSON(text, "")
		if err != nil {
			t.Fatal(err)
		}
		if shown := printable.Log(string(data)); shown != string(data) {
			t.Errorf("JSON of %q is %q, shown %q", text, data, shown)
		}
	})
}
