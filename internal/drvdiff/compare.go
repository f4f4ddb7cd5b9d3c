package drvdiff

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
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
