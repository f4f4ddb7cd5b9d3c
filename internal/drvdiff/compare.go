package drvdiff

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// structured is the variable that holds all attributes as JSON where __structuredAttrs is set.
const structured = "__json"

// pair is a derivation of each side: the two have the same role in their trees.
type pair struct{ a, b nix.StorePath }

// comparison compares one pair.
type comparison struct {
	a, b         *derivation
	usedA, usedB *mentions
	names        *names
	inputs       []pair // the inputs of both sides that correspond and differ
	own          []Difference
	reported     map[string]bool // variables that a reported difference already implies
}

// compare returns the differences of two derivations' own values, and the pairs of inputs that differ.
func compare(ctx context.Context, treeA, treeB *tree, a, b *derivation) (own []Difference, inputs []pair, err error) {
	c := &comparison{a: a, b: b, usedA: mentionsOf(a), usedB: mentionsOf(b), names: newNames(), reported: map[string]bool{}}
	for _, o := range a.Outputs {
		if other, ok := b.output(o.Name); ok && o.Path != "" && other.Path != "" {
			c.names.samePath(o.Path, other.Path)
		}
	}
	if err := c.matchInputs(ctx, treeA, treeB); err != nil {
		return nil, nil, err
	}
	c.matchSources()

	if a.System != b.System {
		c.value(System, "", a.System, b.System)
		c.reported["system"] = true
	}
	c.outputs()
	if c.value(Builder, "", a.Builder, b.Builder) {
		c.reported["builder"] = true
	}
	c.arguments()
	c.environment()
	if len(c.own) == 0 && len(c.inputs) == 0 {
		c.outputPaths()
	}
	slices.SortStableFunc(c.own, func(x, y Difference) int { return slices.Index(order, x.Kind) - slices.Index(order, y.Kind) })
	same := sameOutputs(a, b)
	for i := range c.own {
		d := &c.own[i]
		d.Name, d.SameOutputs = bounded(d.Name), same
	}
	return c.own, c.inputs, nil
}

// order is the order of differences within one derivation: variables, which can follow from the others, are last.
var order = []Kind{
	System, Outputs, OutputHash, Builder, Argument, Source, SourceAdded, SourceRemoved,
	InputAdded, InputRemoved, InputOutputs, Variable, Attribute, OutputPath, Missing,
}

func (c *comparison) note(kind Kind, name, a, b string) {
	c.own = append(c.own, Difference{Kind: kind, Name: name, A: a, B: b})
}

// value compares two texts. It ignores digests that differ for a reason that is reported elsewhere.
func (c *comparison) value(kind Kind, name, a, b string) (differs bool) {
	if c.names.inA(a) == c.names.inB(b) {
		return false
	}
	line, x, y := c.excerpt(a, b)
	c.own = append(c.own, Difference{Kind: kind, Name: name, A: x, B: y, Line: line})
	return true
}

func (c *comparison) outputs() {
	var namesA, namesB []string
	for _, o := range c.a.Outputs {
		namesA = append(namesA, o.Name)
	}
	for _, o := range c.b.Outputs {
		namesB = append(namesB, o.Name)
	}
	if !slices.Equal(namesA, namesB) {
		c.note(Outputs, "", words(namesA), words(namesB))
		c.reported["outputs"] = true
		for _, name := range append(namesA, namesB...) {
			c.reported[name] = true // a variable with the output's path
		}
	}
	for _, a := range c.a.Outputs {
		b, ok := c.b.output(a.Name)
		if !ok || a.Algorithm == b.Algorithm && a.Hash == b.Hash {
			continue
		}
		x, y := a.fixed(), b.fixed()
		if x == y { // content-addressed outputs have no hash
			x, y = a.Algorithm, b.Algorithm
		}
		c.note(OutputHash, a.Name, orUnset(x), orUnset(y))
		for _, name := range []string{"outputHash", "outputHashAlgo", "outputHashMode"} {
			c.reported[name] = true
		}
	}
}

func (c *comparison) arguments() {
	a, b := c.a.Args, c.b.Args
	for i := range max(len(a), len(b)) {
		number := strconv.Itoa(i + 1)
		if i >= len(a) {
			c.note(Argument, number, unset, c.shown(b[i], c.names.inB, c.names.shownB))
			return
		}
		if i >= len(b) {
			c.note(Argument, number, c.shown(a[i], c.names.inA, c.names.shownA), unset)
			return
		}
		if c.value(Argument, number, a[i], b[i]) && len(a) != len(b) {
			return // an inserted argument moves all the others
		}
	}
}

func (c *comparison) environment() {
	keys := maps.Clone(c.a.Env)
	maps.Copy(keys, c.b.Env)
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		a, inA := c.a.Env[name]
		b, inB := c.b.Env[name]
		switch {
		case c.reported[name]:
		case !inA:
			c.note(Variable, name, unset, c.shown(b, c.names.inB, c.names.shownB))
		case !inB:
			c.note(Variable, name, c.shown(a, c.names.inA, c.names.shownA), unset)
		case name == structured && c.structured(a, b):
		default:
			c.value(Variable, name, a, b)
		}
	}
}

// shown is the beginning of a value that only one side has.
func (c *comparison) shown(value string, replace func(string) string, names []string) string {
	return cut("", spell(replace(nix.Redact(value)), names))
}

// outputPaths is for derivations in which nothing else differs: two versions of Nix can compute different paths.
func (c *comparison) outputPaths() {
	for _, a := range c.a.Outputs {
		if b, ok := c.b.output(a.Name); ok && a.Path != b.Path {
			c.note(OutputPath, a.Name, orUnset(string(a.Path)), orUnset(string(b.Path)))
		}
	}
}

// sameOutputs reports whether both have the same outputs at the same paths.
func sameOutputs(a, b *derivation) bool {
	return slices.EqualFunc(a.Outputs, b.Outputs, func(x, y output) bool {
		return x.Name == y.Name && x.Path == y.Path && x.Path != ""
	})
}

func words(list []string) string { return printable(bounded(strings.Join(list, " "))) }

func orUnset(s string) string {
	if s == "" {
		return unset
	}
	return printable(bounded(s))
}
