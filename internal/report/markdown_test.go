package report

import (
	"strings"
	"testing"
)

// A line does not end a fence after invisible characters are removed.
func TestFenceIsLongerThanItsLines(t *testing.T) {
	for name, line := range map[string]string{
		"marks":              "````",
		"an escape between":  "``\x1b[31m`",
		"a control between":  "``\x01`",
		"no width between":   "``\u200b`",
		"overwritten":        "x\r```",
		"indented and ended": "  ```\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			text := fence([]string{"before", line, "after"})
			opening, rest, _ := strings.Cut(text, "text\n")
			body, ok := strings.CutSuffix(rest, opening+"\n")
			if !ok || strings.Contains(body, opening) || strings.Count(body, "\n") != 3 {
				t.Errorf("the fence is\n%s", text)
			}
		})
	}
}

// A text that is not a URL, or could be more than a URL, is not a link.
func TestLinksAreURLs(t *testing.T) {
	if got, want := link("a|b", "https://e.example/é|x#L1"), "[a&#124;b](https://e.example/é%7Cx#L1)"; got != want {
		t.Errorf("link is %s, want %s", got, want)
	}
	for _, url := range []string{
		"", "javascript:alert", "//e.example", "https://e.example/)", "https://e.example/ x", "https://e.example/\r# heading",
		"https://e.example/\n# heading", "https://e.example/\u2028x", "https://e.example/\u202ex", "https://e.example/\x00",
	} {
		if got := link("text", url); got != "text" {
			t.Errorf("%q: link is %s", url, got)
		}
	}
}
