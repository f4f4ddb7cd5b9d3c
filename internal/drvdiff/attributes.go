package drvdiff

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// structured compares structured attributes one by one. It returns false if they cannot be decoded, or if it finds no
// difference: then the texts must be compared.
func (c *comparison) structured(textA, textB string) bool {
	a, okA := decode(textA)
	b, okB := decode(textB)
	if !okA || !okB {
		return false
	}
	before := len(c.own)
	for name := range c.reported {
		delete(a, name)
		delete(b, name)
	}
	c.attribute("", normal(a, c.names.inA), normal(b, c.names.inB))
	return len(c.own) > before || len(c.reported) > 0
}

func decode(text string) (attributes map[string]any, ok bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // large integers can be equal as floating-point numbers
	err := d.Decode(&attributes)
	return attributes, err == nil && attributes != nil
}

// normal replaces references in all strings of a decoded value. It removes NUL, which marks a token.
func normal(v any, replace func(string) string) any {
	return mapStrings(v, func(s string) string { return replace(strings.ReplaceAll(s, mark, "\uFFFD")) })
}

// mapStrings applies f to all strings and names of a decoded value.
func mapStrings(v any, f func(string) string) any {
	switch v := v.(type) {
	case string:
		return f(v)
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = mapStrings(v[i], f)
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(v))
		for name, value := range v {
			all[f(name)] = mapStrings(value, f)
		}
		return all
	}
	return v
}

func (c *comparison) attribute(name string, a, b any) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			c.attributeSet(name, x, y)
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			c.attributeList(name, x, y)
			return
		}
	case string:
		if y, ok := b.(string); ok {
			c.value(Attribute, name, x, y)
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		c.note(Attribute, name, compact(a, c.names.shownA), compact(b, c.names.shownB))
	}
}

func (c *comparison) attributeSet(name string, a, b map[string]any) {
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		within := spell(key, c.names.shownA)
		if name != "" {
			within = name + "." + within
		}
		x, inA := a[key]
		y, inB := b[key]
		switch {
		case !inA:
			c.note(Attribute, within, unset, compact(y, c.names.shownB))
		case !inB:
			c.note(Attribute, within, compact(x, c.names.shownA), unset)
		default:
			c.attribute(within, x, y)
		}
	}
}

// attributeList reports only the first element that differs: an inserted element moves all the others.
func (c *comparison) attributeList(name string, a, b []any) {
	for i := range max(len(a), len(b)) {
		within := name + "[" + strconv.Itoa(i) + "]"
		switch {
		case i >= len(a):
			c.note(Attribute, within, unset, compact(b[i], c.names.shownB))
			return
		case i >= len(b):
			c.note(Attribute, within, compact(a[i], c.names.shownA), unset)
			return
		case !reflect.DeepEqual(a[i], b[i]):
			c.attribute(within, a[i], b[i])
			return
		}
	}
}

// compact formats a value as JSON, bounded and printable. A string has the same form as in other differences.
func compact(v any, shown []string) string {
	spelled := mapStrings(v, func(s string) string { return spell(nix.Redact(s), shown) })
	if s, ok := spelled.(string); ok {
		return cut("", s)
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(spelled); err != nil {
		return err.Error()
	}
	return bounded(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.TrimSpace(text.String())))
}
