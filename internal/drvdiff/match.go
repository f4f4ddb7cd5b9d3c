package drvdiff

import (
	"cmp"
	"context"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// candidate is an input or source whose path the other side does not have.
type candidate struct {
	input
	drv   *derivation // nil for a source, or if the side does not have it
	place int         // of its first mention
}

// match pairs the candidates of both sides that correspond. It tries the keys in order. Candidates with the same key are
// paired in the order of their mentions.
func match(a, b []candidate, keys ...func(candidate) string) (both [][2]candidate, onlyA, onlyB []candidate) {
	inPlace := func(x, y candidate) int { return cmp.Compare(x.place, y.place) }
	slices.SortStableFunc(a, inPlace)
	slices.SortStableFunc(b, inPlace)
	for _, key := range keys {
		waiting := map[string][]candidate{}
		for _, y := range b {
			waiting[key(y)] = append(waiting[key(y)], y)
		}
		taken := map[nix.StorePath]bool{}
		var rest []candidate
		for _, x := range a {
			if ys := waiting[key(x)]; len(ys) > 0 {
				both = append(both, [2]candidate{x, ys[0]})
				waiting[key(x)] = ys[1:]
				taken[ys[0].Path] = true
				continue
			}
			rest = append(rest, x)
		}
		a, b = rest, slices.DeleteFunc(b, func(y candidate) bool { return taken[y.Path] })
	}
	return both, a, b
}

// matchInputs pairs the inputs of both sides. The walk continues with the pairs that differ.
func (c *comparison) matchInputs(ctx context.Context, treeA, treeB *tree) error {
	restA, err := candidates(ctx, treeA, c.a.Inputs, c.b.Inputs, c.usedA)
	if err != nil {
		return err
	}
	restB, err := candidates(ctx, treeB, c.b.Inputs, c.a.Inputs, c.usedB)
	if err != nil {
		return err
	}
	both, onlyA, onlyB := match(restA, restB,
		func(i candidate) string { return nameOf(i.Path) + " " + words(i.Outputs) },
		func(i candidate) string { return nameOf(i.Path) },
		func(i candidate) string { return versionless(nameOf(i.Path)) })
	for _, p := range both {
		c.sameInput(p[0], p[1])
	}
	for _, in := range c.a.Inputs {
		if other, ok := find(c.b.Inputs, in.Path); ok {
			c.inputOutputs(in, other)
		}
	}
	for _, i := range onlyA {
		c.note(InputRemoved, nameOf(i.Path), string(i.Path), unset)
	}
	for _, i := range onlyB {
		c.note(InputAdded, nameOf(i.Path), unset, string(i.Path))
	}
	return nil
}

// candidates returns the inputs that the other side does not have.
func candidates(ctx context.Context, t *tree, inputs, others []input, used *mentions) ([]candidate, error) {
	var rest []candidate
	for _, in := range inputs {
		if _, ok := find(others, in.Path); ok {
			continue
		}
		d, err := t.load(ctx, in.Path)
		if err != nil {
			return nil, err
		}
		digests := []string{in.Path.Digest()}
		if d != nil {
			for _, o := range d.Outputs {
				digests = append(digests, o.Path.Digest())
			}
		}
		rest = append(rest, candidate{in, d, used.place(digests...)})
	}
	return rest, nil
}

func find(inputs []input, path nix.StorePath) (input, bool) {
	i, ok := slices.BinarySearchFunc(inputs, path, func(in input, path nix.StorePath) int { return cmp.Compare(in.Path, path) })
	if !ok {
		return input{}, false
	}
	return inputs[i], true
}

// sameInput records that two inputs correspond.
func (c *comparison) sameInput(a, b candidate) {
	c.inputs = append(c.inputs, pair{a.Path, b.Path})
	c.names.samePath(a.Path, b.Path)
	for _, name := range outputsOf(a) {
		c.names.same(c.usedA.output(a, name), c.usedB.output(b, name), outputName(a.Path, name), outputName(b.Path, name))
	}
	if a.drv == nil || b.drv == nil || !a.usesAll() || !b.usesAll() { // a new output is a difference of the input itself
		c.inputOutputs(a.input, b.input)
	}
}

func (i candidate) usesAll() bool { return slices.Equal(i.Outputs, outputsOf(i)) }

func (c *comparison) inputOutputs(a, b input) {
	if !slices.Equal(a.Outputs, b.Outputs) {
		c.note(InputOutputs, nameOf(a.Path), words(a.Outputs), words(b.Outputs))
	}
}

func outputsOf(i candidate) []string {
	if i.drv == nil {
		return i.Outputs
	}
	var all []string
	for _, o := range i.drv.Outputs {
		all = append(all, o.Name)
	}
	return all
}

// output returns the base name of an output of an input in the text. If the side does not have the input, it looks for the
// name only.
func (m *mentions) output(i candidate, name string) string {
	if i.drv == nil {
		return m.base[outputName(i.Path, name)]
	}
	o, ok := i.drv.output(name)
	switch {
	case !ok:
		return ""
	case o.Path == "":
		return placeholder(i.Path, name)
	}
	return o.Path.Base()
}

// matchSources finds the sources that have other contents, or that only one side has.
func (c *comparison) matchSources() {
	both, onlyA, onlyB := match(sources(c.a.Sources, c.b.Sources, c.usedA), sources(c.b.Sources, c.a.Sources, c.usedB),
		func(i candidate) string { return plainName(i.Path) })
	for _, p := range both {
		a, b := p[0].Path, p[1].Path
		c.names.samePath(a, b)
		if a.IsDerivation() { // its text is a source: builtins.unsafeDiscardOutputDependency
			c.inputs = append(c.inputs, pair{a, b})
			continue
		}
		c.own = append(c.own, Difference{Kind: Source, Name: plainName(a), A: string(a), B: string(b), Uses: c.usedA.uses[a.Digest()]})
	}
	c.own = append(c.own, removed(onlyA, c.a, c.usedA)...)
	for _, d := range removed(onlyB, c.b, c.usedB) { // with sides exchanged
		d.Kind = map[Kind]Kind{SourceRemoved: SourceAdded, InputRemoved: InputAdded}[d.Kind]
		d.A, d.B = d.B, d.A
		c.own = append(c.own, d)
	}
}

// removed reports sources that only d has. A derivation among them is an input of which only the text is used. If its
// outputs are used too, it is already reported.
func removed(sources []candidate, d *derivation, used *mentions) (all []Difference) {
	for _, s := range sources {
		if !s.Path.IsDerivation() {
			all = append(all, Difference{Kind: SourceRemoved, Name: plainName(s.Path), A: string(s.Path), B: unset, Uses: used.uses[s.Path.Digest()]})
		} else if _, ok := find(d.Inputs, s.Path); !ok {
			all = append(all, Difference{Kind: InputRemoved, Name: nameOf(s.Path), A: string(s.Path), B: unset})
		}
	}
	return all
}

func sources(paths, others []nix.StorePath, used *mentions) []candidate {
	var rest []candidate
	for _, path := range paths {
		if _, ok := slices.BinarySearch(others, path); !ok {
			rest = append(rest, candidate{input{Path: path}, nil, used.place(path.Digest())})
		}
	}
	return rest
}
