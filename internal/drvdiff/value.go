package drvdiff

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// structured compares structured attributes. It returns false if they cannot be decoded, or if it finds no difference:
// then the texts must be compared.
func (c *comparison) structured(textA, textB string) bool {
	a, b := decode(textA), decode(textB)
	if a == nil || b == nil {
		return false
	}
	follows := false
	for name, reported := range c.reported {
		if reported {
			delete(a, name)
			delete(b, name)
			follows = true
		}
	}
	return c.value(Attribute, "", a, b) || follows
}

func decode(text string) (attributes map[string]any) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // large integers can be equal as floating-point numbers
	if d.Decode(&attributes) != nil {
		return nil
	}
	return attributes
}

// absent is the value that only the other side has.
type absent struct{}

// value compares two values, as JSON has them: texts, lists, sets and others.
func (c *comparison) value(kind Kind, name string, a, b any) (differs bool) {
	if reflect.DeepEqual(a, b) {
		return false
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			c.set(kind, name, x, y)
			return true
		}
	case []any:
		if y, ok := b.([]any); ok {
			c.list(kind, name, x, y)
			return true
		}
	case string:
		if y, ok := b.(string); ok {
			line, x, y := excerpt(x, y)
			c.add(Difference{Kind: kind, Name: name, A: x, B: y, Line: line})
			return true
		}
	}
	c.add(Difference{Kind: kind, Name: name, A: compact(a), B: compact(b)})
	return true
}

func (c *comparison) set(kind Kind, name string, a, b map[string]any) {
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	of := func(set map[string]any, key string) any {
		if v, ok := set[key]; ok {
			return v
		}
		return absent{}
	}
	if name != "" {
		name += "."
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		c.value(kind, name+key, of(a, key), of(b, key))
	}
}

// list reports only the first element that differs if the lengths differ: an inserted element moves all the others.
func (c *comparison) list(kind Kind, name string, a, b []any) {
	of := func(list []any, i int) any {
		if i < len(list) {
			return list[i]
		}
		return absent{}
	}
	for i := range max(len(a), len(b)) {
		element := fmt.Sprintf("%s[%d]", name, i)
		if kind == Argument {
			element = strconv.Itoa(i + 1)
		}
		if c.value(kind, element, of(a, i), of(b, i)) && len(a) != len(b) {
			return
		}
	}
}

// compact formats a value as JSON, bounded and printable. A string has the same form as in other differences.
func compact(v any) string {
	switch v := v.(type) {
	case absent:
		return unset
	case string:
		return quote(nix.Redact(v), 0)
	}
	text, err := printable.JSON(v, "")
	if err != nil {
		return err.Error()
	}
	return bounded(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, nix.Redact(strings.TrimSpace(string(text)))))
}

// excerpt returns the parts to show of two values that differ, and their line if the values have several lines. It removes
// passwords from URLs.
func excerpt(a, b string) (line int, x, y string) {
	const noLine = "no such line"
	a, b = nix.Redact(a), nix.Redact(b)
	if a == b {
		const same = "the same, but for credentials within a URL"
		return 0, same, same
	}
	linesA, linesB := strings.Split(a, "\n"), strings.Split(b, "\n")
	for line = 0; ; line++ {
		switch {
		case line == len(linesA):
			return line + 1, noLine, quote(linesB[line], 0)
		case line == len(linesB):
			return line + 1, quote(linesA[line], 0), noLine
		case linesA[line] == linesB[line]:
			continue
		}
		a, b = linesA[line], linesB[line]
		at := 0
		for at < len(a) && at < len(b) && a[at] == b[at] {
			at++
		}
		if len(linesA) == 1 && len(linesB) == 1 {
			line = -1
		}
		return line + 1, quote(a, at), quote(b, at)
	}
}

// How many bytes of a value are shown, before the first difference and from there on.
const (
	shownBefore = 40
	shownAfter  = 100
)

// quote quotes the part of a text around a position.
func quote(text string, at int) string {
	start, end := max(at-shownBefore, 0), min(at+shownAfter, len(text))
	for start > 0 && start < len(text) && !utf8.RuneStart(text[start]) {
		start++
	}
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	head, tail := "", ""
	if start > 0 {
		head = "…"
	}
	if end < len(text) {
		tail = "…"
	}
	return head + strconv.Quote(text[start:end]) + tail
}

func bounded(s string) string { return printable.Cut(s, shownBefore+shownAfter) }

func words(list []string) string { return orUnset(strings.Join(list, " ")) }

func orUnset(s string) string {
	if s == "" {
		return unset
	}
	return printable.Escaped(bounded(s))
}
