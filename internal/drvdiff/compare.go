package drvdiff

import (
	"context"
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

// structured is the variable that holds all attributes as JSON where __structuredAttrs is set.
const structured = "__json"

// pair is a derivation of each side: the two have the same role in their trees.
type pair struct{ a, b nix.StorePath }

// comparison compares one pair. It replaces the store paths that correspond by the same label on both sides. Two texts are
// then equal if they differ only in the digests of these paths.
type comparison struct {
	a, b   *half
	labels map[string]int // how often each label is used
	inputs []pair         // the inputs of both sides that correspond and differ
	own    []Difference
	// reported are variables that follow from other differences.
	reported map[string]bool
}

// half is one of the two derivations of a pair.
type half struct {
	*derivation
	*mentions
	tree     *tree
	labelled map[string]bool // base names
	labels   []string        // base name, label, base name, label … as [strings.NewReplacer] takes them
	replace  func(string) string
}

func newComparison(treeA, treeB *tree, a, b *derivation) *comparison {
	begin := func(t *tree, d *derivation) *half {
		return &half{derivation: d, mentions: mentionsOf(d), tree: t, labelled: map[string]bool{}}
	}
	return &comparison{a: begin(treeA, a), b: begin(treeB, b), labels: map[string]int{}, reported: map[string]bool{}}
}

// compare finds the differences of the two derivations' own values, and the pairs of inputs that differ.
func (c *comparison) compare(ctx context.Context) error {
	for _, o := range c.a.Outputs {
		if other, ok := c.b.output(o.Name); ok && o.Path != "" && other.Path != "" {
			c.label(o.Path, other.Path)
		}
	}
	if err := c.references(ctx); err != nil {
		return err
	}
	c.a.replace, c.b.replace = strings.NewReplacer(c.a.labels...).Replace, strings.NewReplacer(c.b.labels...).Replace

	c.reported["system"] = c.value(System, "", c.a.System, c.b.System)
	c.outputs()
	c.reported["builder"] = c.value(Builder, "", c.a.replace(c.a.Builder), c.b.replace(c.b.Builder))
	c.value(Argument, "", c.a.args(), c.b.args())
	textA, inA := c.a.Env[structured]
	textB, inB := c.b.Env[structured]
	c.reported[structured] = inA && inB && c.structured(c.a.replace(textA), c.b.replace(textB))
	c.value(Variable, "", c.variables(c.a), c.variables(c.b))
	if len(c.own) == 0 && len(c.inputs) == 0 { // two versions of Nix can compute different paths
		for _, o := range c.a.Outputs {
			if other, ok := c.b.output(o.Name); ok && o.Path != other.Path {
				c.add(Difference{Kind: OutputPath, Name: o.Name, A: orUnset(string(o.Path)), B: orUnset(string(other.Path))})
			}
		}
	}
	slices.SortStableFunc(c.own, func(x, y Difference) int { return slices.Index(order, x.Kind) - slices.Index(order, y.Kind) })
	same := slices.EqualFunc(c.a.Outputs, c.b.Outputs, func(x, y output) bool {
		return x.Name == y.Name && x.Path == y.Path && x.Path != ""
	})
	for i := range c.own {
		c.own[i].Name, c.own[i].SameOutputs = bounded(c.own[i].Name), same
	}
	return nil
}

// order is the order of differences within one derivation: variables, which can follow from the others, are last.
var order = []Kind{
	System, Outputs, OutputHash, Builder, Argument, Source, SourceAdded, SourceRemoved,
	InputAdded, InputRemoved, InputOutputs, Variable, Attribute, OutputPath, Missing,
}

func (c *comparison) add(d Difference) { c.own = append(c.own, d) }

func (c *comparison) label(a, b nix.StorePath) { c.labelAs(a.Base(), b.Base(), a.Name(), b.Name()) }

// labelAs records that two base names correspond, and how they are shown.
func (c *comparison) labelAs(a, b, nameA, nameB string) {
	if a == b || a == "" || b == "" || c.a.labelled[a] || c.b.labelled[b] {
		return
	}
	label := "…-" + nameA
	if nameA != nameB {
		label += "|" + nameB
	}
	if c.labels[label]++; c.labels[label] > 1 {
		label += fmt.Sprintf("(%d)", c.labels[label])
	}
	c.a.labelled[a], c.b.labelled[b] = true, true
	c.a.labels, c.b.labels = append(c.a.labels, a, label), append(c.b.labels, b, label)
}

func (h *half) args() (args []any) {
	for _, arg := range h.Args {
		args = append(args, h.replace(arg))
	}
	return args
}

func (c *comparison) variables(h *half) map[string]any {
	all := map[string]any{}
	for name, value := range h.Env {
		if !c.reported[name] {
			all[name] = h.replace(value)
		}
	}
	return all
}

func (c *comparison) outputs() {
	namesA, namesB := c.a.outputNames(), c.b.outputNames()
	if !slices.Equal(namesA, namesB) {
		c.add(Difference{Kind: Outputs, A: words(namesA), B: words(namesB)})
		for _, name := range slices.Concat([]string{"outputs"}, namesA, namesB) { // a variable has the path of each
			c.reported[name] = true
		}
	}
	for _, a := range c.a.Outputs {
		b, ok := c.b.output(a.Name)
		if !ok || a.Algorithm == b.Algorithm && a.Hash == b.Hash {
			continue
		}
		c.add(Difference{Kind: OutputHash, Name: a.Name, A: orUnset(a.fixed()), B: orUnset(b.fixed())})
		for _, name := range []string{"outputHash", "outputHashAlgo", "outputHashMode"} {
			c.reported[name] = true
		}
	}
}

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
