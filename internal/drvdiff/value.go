package drvdiff

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// How many bytes of a value are shown, before the first difference and from there on.
const (
	shownBefore = 40
	shownAfter  = 100
)

// printable escapes control characters and what a terminal cannot show.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// bounded shortens text of any length.
func bounded(s string) string {
	if len(s) <= shownBefore+shownAfter {
		return s
	}
	return before(s, shownBefore+shownAfter) + "…"
}

// before returns the first n bytes of s, or a few less to keep characters whole.
func before(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// excerpt returns the parts to show of two values that differ, and their line if the values have several lines. It removes
// passwords from URLs.
func (c *comparison) excerpt(a, b string) (line int, x, y string) {
	a, b = c.names.inA(nix.Redact(a)), c.names.inB(nix.Redact(b))
	if a == b {
		const same = "the same, but for credentials within a URL"
		return 0, same, same
	}
	if !strings.Contains(a, "\n") && !strings.Contains(b, "\n") {
		x, y = c.window(a, b)
		return 0, x, y
	}
	for line = 1; ; line++ {
		lineA, restA, moreA := strings.Cut(a, "\n")
		lineB, restB, moreB := strings.Cut(b, "\n")
		switch {
		case lineA != lineB:
			x, y = c.window(lineA, lineB)
			return line, x, y
		case moreA != moreB: // only one of them ends here
			return line + 1, next(moreA, c.names.shownA, restA), next(moreB, c.names.shownB, restB)
		}
		a, b = restA, restB
	}
}

// next formats the line after the last common line.
func next(more bool, shown []string, rest string) string {
	if !more {
		return "no such line"
	}
	line, _, _ := strings.Cut(rest, "\n")
	return cut("", spell(line, shown))
}

// window formats two texts around the first byte that differs.
func (c *comparison) window(a, b string) (x, y string) {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if strings.Count(a[:n], mark)%2 == 1 { // inside a token
		n = strings.LastIndex(a[:n], mark)
	}
	return cut(spell(a[:n], c.names.shownA), spell(a[n:], c.names.shownA)),
		cut(spell(b[:n], c.names.shownB), spell(b[n:], c.names.shownB))
}

// cut quotes the end of the common part and the beginning of the rest.
func cut(same, after string) string {
	head, tail := "", ""
	if len(same) > shownBefore {
		at := len(same) - shownBefore
		for at < len(same) && !utf8.RuneStart(same[at]) {
			at++
		}
		head, same = "…", same[at:]
	}
	if len(after) > shownAfter {
		tail, after = "…", before(after, shownAfter)
	}
	return head + strconv.Quote(same+after) + tail
}
