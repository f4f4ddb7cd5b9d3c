package compare

import (
	"slices"
	"strings"
	"unicode"

	"github.com/rogpeppe/go-internal/diff"
)

const (
	maxDiffLines = 200
	maxDiffLine  = 500 // bytes
	maxLinePairs = 100
)

// explainText compares two texts line by line: it adds a unified diff to the change, and returns the evidence.
func (c *changes) explainText(change *Change, a, b []byte) []Evidence {
	unified := hunks(string(diff.Diff("a", a, "b", b)))
	change.Diff, change.DiffCut = cutDiff(unified)
	left, right := textLines(a), textLines(b)
	if sameInOrder(left, right) {
		return []Evidence{orderEvidence(left, right)}
	}
	var found []Evidence
	for _, pair := range linePairs(unified) {
		found = append(found, textEvidence(c.options, pair[0], pair[1])...)
	}
	if len(found) == 0 && len(left) == 1 && len(right) == 1 {
		found = textEvidence(c.options, left[0], right[0])
	}
	return limitEvidence(found)
}

// hunks cuts off the lines in front of the first hunk, which name files.
func hunks(unified string) string {
	if i := strings.Index(unified, "\n@@ "); i >= 0 {
		return unified[i+1:]
	}
	return unified
}

func textLines(text []byte) []string {
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// cutDiff shortens a diff to what a person reads. The last line break is cut off.
func cutDiff(unified string) (string, bool) {
	lines := strings.Split(strings.TrimSuffix(unified, "\n"), "\n")
	wasCut := len(lines) > maxDiffLines
	if wasCut {
		lines = lines[:maxDiffLines]
	}
	for i, line := range lines {
		if len(line) > maxDiffLine {
			lines[i], wasCut = cut(line, maxDiffLine), true
		}
	}
	return strings.Join(lines, "\n"), wasCut
}

// linePairs returns those lines of a diff that stand for each other: in a run of removed lines and the run of added ones
// behind it, the first for the first and so on.
func linePairs(unified string) [][2]string {
	var pairs [][2]string
	var removed, added []string
	flush := func() {
		for i := range min(len(removed), len(added)) {
			pairs = append(pairs, [2]string{removed[i], added[i]})
		}
		removed, added = nil, nil
	}
	for line := range strings.Lines(unified) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "-"):
			if len(added) > 0 {
				flush()
			}
			removed = append(removed, line[1:])
		case strings.HasPrefix(line, "+"):
			added = append(added, line[1:])
		case !strings.HasPrefix(line, `\`):
			flush()
		}
		if len(pairs) >= maxLinePairs {
			return pairs
		}
	}
	flush()
	return pairs
}

// orderEvidence is of the same lines in two orders. Where one is by bytes, as the locale C has it, and the other
// by letters, both were sorted: in two languages.
func orderEvidence(a, b []string) Evidence {
	i := 0
	for a[i] == b[i] {
		i++
	}
	e := Evidence{Cause: Ordering, A: a[i], B: b[i]}
	byLetters := func(lines []string) bool { return slices.IsSortedFunc(lines, compareLetters) }
	if slices.IsSorted(a) && byLetters(b) || slices.IsSorted(b) && byLetters(a) {
		e.Cause = Locale
	}
	return e
}

// compareLetters compares as most languages do: capitals and marks weigh nothing, as long as the letters differ.
func compareLetters(a, b string) int { return strings.Compare(letters(a), letters(b)) }

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}
