package compare

import (
	"regexp"
	"slices"
	"strings"
)

// matcher finds a cause in two lines that differ: a match of re on both sides that touches what differs, is not the
// same on both, and is accepted.
type matcher struct {
	cause  Cause
	re     *regexp.Regexp
	accept func(a, b string) bool // nil accepts all
}

const storeDigest = `[0-9a-df-np-sv-z]{32}`

// pathMatchers and matchers are in the order in which they are tried, with the names of known hosts between them:
// what one has explained, the next do not look at.
var pathMatchers = []matcher{
	{StorePath, regexp.MustCompile(`(?:/[0-9A-Za-z._+-]+)+/` + storeDigest + `-[0-9A-Za-z+._?=-]+`), nil},
	{BuildPath, regexp.MustCompile(`(?:/[^/\s:"'<>|;,()=\x00]+)*/nix-build-[^/\s:"'<>|;,()]+(?:/[^\s:"'<>|;,()]*)?`), nil},
	{BuildPath, regexp.MustCompile(`(?:/private)?/(?:build|tmp|var/tmp|home|root|Users|nix/var/nix/builds|run/user)(?:/[^\s:"'<>|;,()=]*)?`), nil},
}

var matchers = []matcher{
	{Permissions, regexp.MustCompile(`[-dlbcps](?:[r-][w-][xsS-]){2}[r-][w-][xtT-]`), nil},
	{Permissions, regexp.MustCompile(`(?i)\b(?:umask|mode|perm\w*|chmod)\b[^0-9]{0,8}[0-7]{3,5}\b`), nil},
	{Permissions, regexp.MustCompile(`\b0[0-7]{3,4}\b`), nil},
	{Address, regexp.MustCompile(`\b[0-9a-f]{8,16}-[0-9a-f]{8,16}\b`), nil},
	{Address, regexp.MustCompile(`\b(?:0x[0-9a-fA-F]{6,16}|(?:7f|5[56])[0-9a-f]{10})\b`), nil},
	{RandomID, regexp.MustCompile(`\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b`), nil},
	{Locale, monthOrDay, differInLanguage},
	{Locale, regexp.MustCompile(`\b(?:[a-z]{2,3}_[A-Z]{2}(?:\.[A-Za-z0-9-]+)?(?:@\w+)?|C(?:\.UTF-8|\.utf8)?|POSIX)\b`), oneIsLocale},
	{Timestamp, regexp.MustCompile(`\b\d{4}[-/.]\d{2}[-/.]\d{2}(?:[T _]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d{2}:?\d{2})\b)?)?`), nil},
	{Timestamp, englishDate, nil},
	{Timestamp, regexp.MustCompile(`\b\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\b`), nil},
	{Timestamp, regexp.MustCompile(`\b20\d{6}(?:[T-]?\d{6})?\b`), nil},
	{Timestamp, regexp.MustCompile(`\b[12]\d{9}(?:\d{3}|\d{6}|\d{9})?(?:\.\d+)?\b`), plausibleSeconds},
	{Locale, regexp.MustCompile(`\b\d+[.,]\d+\b`), onlySeparators},
	{RandomID, regexp.MustCompile(`\b[0-9a-fA-F]{8,}\b`), randomDigits},
	{RandomID, regexp.MustCompile(`[0-9A-Za-z_+/]{6,}`), randomLetters},
	{Hostname, regexp.MustCompile(`\b[\w.-]+@[A-Za-z0-9][A-Za-z0-9.-]*`), sameUser},
	{Hostname, regexp.MustCompile(`(?i)\b(?:(?:build[ _-]?)?host(?:[ _-]?name)?|node(?:name)?|machine|buildd|builder|built (?:on|by|at)|Linux)\b["']?[ \t:=]{1,4}["']?[a-z0-9][a-z0-9.-]*`), nil},
	{Hostname, hostWord, oneIsLocalhost},
	{PID, regexp.MustCompile(`\b\d{1,7}\b`), nil},
}

const (
	englishDays   = `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*`
	englishMonths = `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*`
	clock         = `\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: [AP]M)?`
	zone          = `(?: (?:[A-Z]{3,4}|[+-]\d{4}))?`
)

// englishDate is as date, ctime, __DATE__ and mail headers write it.
var englishDate = regexp.MustCompile(`\b(?:` + englishDays + `,? +)?(?:\d{1,2} ` + englishMonths + `|` + englishMonths + ` +\d{1,2})\b` +
	`(?:,? \d{4})?(?: ` + clock + zone + `)?(?: \d{4})?`)

// maxLinePart is how much of a line is looked at on both sides of what differs.
const maxLinePart = 512

// textEvidence tells what two lines differ in. Both may have any bytes in them.
func textEvidence(o Options, a, b string) []Evidence {
	a, b = aroundDifference(a, b)
	var found []Evidence
	explain := func(m matcher) {
		for a != b && len(found) < maxEvidence {
			p, q, ok := m.find(a, b)
			if !ok {
				break
			}
			found = append(found, Evidence{Cause: m.cause, A: a[p[0]:p[1]], B: b[q[0]:q[1]]})
			a, b = mask(a, p), mask(b, q)
		}
	}
	for _, m := range pathMatchers {
		explain(m)
	}
	for _, host := range o.Hosts {
		explain(matcher{Hostname, hostWord, func(x, y string) bool { return x == host || y == host }})
	}
	for _, m := range matchers {
		explain(m)
	}
	if a != b && len(found) == 0 && sameInOrder(strings.FieldsFunc(a, isSeparator), strings.FieldsFunc(b, isSeparator)) {
		found = append(found, Evidence{Cause: Ordering, A: a, B: b})
	}
	return found
}

// aroundDifference returns the part of two lines that differs, with some of what is around it.
func aroundDifference(a, b string) (string, string) {
	low, highA, highB := differingPart(a, b)
	low = max(low-maxLinePart, 0)
	return a[low:min(highA+maxLinePart, len(a), low+4*maxLinePart)], b[low:min(highB+maxLinePart, len(b), low+4*maxLinePart)]
}

// differingPart returns where two strings begin to differ, and in each of them where they are the same again.
func differingPart(a, b string) (low, highA, highB int) {
	n := min(len(a), len(b))
	for low < n && a[low] == b[low] {
		low++
	}
	end := 0
	for end < n-low && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	return low, len(a) - end, len(b) - end
}

// find returns the first pair of matches that differs.
func (m matcher) find(a, b string) (p, q []int, ok bool) {
	low, highA, highB := differingPart(a, b)
	ps, qs := touching(m.re.FindAllStringIndex(a, 64), low, highA), touching(m.re.FindAllStringIndex(b, 64), low, highB)
	for i := range min(len(ps), len(qs)) {
		p, q := ps[i], qs[i]
		x, y := a[p[0]:p[1]], b[q[0]:q[1]]
		if x != y && (m.accept == nil || m.accept(x, y)) {
			return p, q, true
		}
	}
	return nil, nil, false
}

// touching returns the matches that have something of what differs, or border on it.
func touching(matches [][]int, low, high int) [][]int {
	return slices.DeleteFunc(matches, func(m []int) bool { return m[1] < low || m[0] > high })
}

// mask takes a match out of a line, so that no other looks at it.
func mask(s string, m []int) string { return s[:m[0]] + "\x00" + s[m[1]:] }

func isSeparator(r rune) bool { return strings.ContainsRune(" \t,;:|[](){}<>\"'", r) }

// sameInOrder says that two lists have the same elements, in another order.
func sameInOrder(a, b []string) bool {
	if len(a) != len(b) || len(a) < 2 || slices.Equal(a, b) {
		return false
	}
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

var hostWord = regexp.MustCompile(`\b[A-Za-z0-9][A-Za-z0-9.-]*\b`)
