package compare

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

const (
	minString  = 6    // the shortest run of printable bytes that is a string of a binary file
	maxString  = 4096 // a longer string is ignored
	maxStrings = 4096 // that are on one side only
	// maxEvidence is how much evidence for one cause a file gets.
	maxEvidence = 3
)

// evidenceOf returns the reasons for the difference of two contents that have no members.
//
// There is one rule for text: it compares the lines, or the strings of a binary file, that only one side has. In each
// of them it masks what can differ between two builds, such as a time within the run. If two strings are then the same,
// and every masked part is valid for its cause, these parts are the evidence. Other differences have no cause.
func evidenceOf(o Options, label string, p pairOf, isText bool) []Evidence {
	split := stringsOf
	if isText {
		split = linesOf
	}
	a, b := split(p.a), split(p.b)
	if isText && sameInOrder(a, b) {
		i := 0
		for a[i] == b[i] {
			i++
		}
		return []Evidence{{Ordering, a[i], b[i], label}}
	}
	found := maskedEvidence(newMasks(o), missingFrom(a, b), missingFrom(b, a))
	seen := map[Cause]int{}
	found = slices.DeleteFunc(found, func(e Evidence) bool {
		seen[e.Cause]++
		return seen[e.Cause] > maxEvidence
	})
	for i := range found {
		found[i].Place = label
	}
	return found
}

// maskedEvidence pairs the strings that are the same where they are masked.
func maskedEvidence(masks []mask, a, b []string) []Evidence {
	others := map[string][]string{}
	for _, s := range b {
		if masked, parts := maskAll(masks, s); len(parts) > 0 {
			others[masked] = append(others[masked], s)
		}
	}
	var found []Evidence
	for _, s := range a {
		masked, parts := maskAll(masks, s)
		same := others[masked]
		if len(parts) == 0 || len(same) == 0 {
			continue
		}
		_, otherParts := maskAll(masks, same[0])
		others[masked] = same[1:]
		found = append(found, differingParts(parts, otherParts)...)
	}
	return found
}

type part struct {
	mask *mask
	text string
}

// differingParts returns the parts that differ, or nothing if one of them is not valid for its cause.
func differingParts(a, b []part) []Evidence {
	var found []Evidence
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x.text == y.text {
			continue
		}
		if x.mask.cause != y.mask.cause || !x.mask.valid(x.text, y.text) {
			return nil
		}
		found = append(found, Evidence{Cause: x.mask.cause, A: x.text, B: y.text})
	}
	return found
}

// mask is a pattern of bytes that can differ between two builds for a cause.
type mask struct {
	cause   Cause
	pattern *regexp.Regexp
	// accept says whether a match is masked; nil accepts all. valid says whether two can be of two builds.
	accept func(text string) bool
	valid  func(a, b string) bool
}

func newMasks(o Options) []mask {
	masks := []mask{
		{BuildPath, buildDir, nil, func(a, b string) bool { return isNixBuildDir(a) || isNixBuildDir(b) }},
		{RandomID, randomUUID, nil, always},
		{Address, address, nil, func(a, b string) bool { return a[len(a)-3:] == b[len(b)-3:] }}, // addresses move by pages
	}
	return append(masks, timeMasks(o.Run)...)
}

func always(_, _ string) bool { return true }

var (
	// buildDir matches the build directory of Nix: without a sandbox, in one, and of Nix 2.30 or later.
	buildDir   = regexp.MustCompile(`(?:/[\w.+-]+)*/nix-build-[\w.+?=-]+\.drv-\d+|/nix/var/nix/builds/[\w.+-]+(?:/build\b)?|/build\b`)
	randomUUID = regexp.MustCompile(`\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}\b`)
	// address matches what Linux maps on 64-bit machines: libraries, stacks, programs and their heaps.
	address = regexp.MustCompile(`\b0x(?:7[ef]|5[56])[0-9a-f]{10}\b`)
)

func isNixBuildDir(path string) bool { return path != "/build" }

// maskAll replaces all matches by the causes that they are of.
func maskAll(masks []mask, s string) (masked string, parts []part) {
	for i := range masks {
		m := &masks[i]
		s = m.pattern.ReplaceAllStringFunc(s, func(text string) string {
			if m.accept != nil && !m.accept(text) {
				return text
			}
			parts = append(parts, part{m, text})
			return "\x00" + string(m.cause[0]) + "\x00"
		})
	}
	return s, parts
}

func linesOf(text []byte) []string {
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// stringsOf returns the strings of a binary file, as strings(1) does.
func stringsOf(data []byte) []string {
	var all []string
	for len(data) > 0 {
		start := bytes.IndexFunc(data, isPrintable)
		if start < 0 {
			break
		}
		data = data[start:]
		end := bytes.IndexFunc(data, func(r rune) bool { return !isPrintable(r) })
		if end < 0 {
			end = len(data)
		}
		if end >= minString {
			all = append(all, string(data[:end]))
		}
		data = data[end:]
	}
	return all
}

func isPrintable(r rune) bool { return r >= ' ' && r <= '~' || r == '\t' }

// missingFrom returns the strings that another list does not have, each once.
func missingFrom(list, other []string) []string {
	known := make(map[string]bool, len(other))
	for _, s := range other {
		known[s] = true
	}
	var missing []string
	for _, s := range list {
		if !known[s] && len(s) <= maxString && len(missing) < maxStrings {
			known[s] = true
			missing = append(missing, s)
		}
	}
	return missing
}

// sameInOrder reports whether two lists have the same elements in different order.
func sameInOrder(a, b []string) bool {
	if len(a) != len(b) || len(a) < 2 || slices.Equal(a, b) {
		return false
	}
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
