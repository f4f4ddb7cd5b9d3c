package drvdiff

import (
	"cmp"
	"context"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// candidate is an input derivation or source that the other side does not have at the same path.
type candidate struct {
	Input
	drv   *Derivation // nil where it is a source, or not here
	place int         // where it is mentioned first
}

// match finds for each candidate the one on the other side that takes its place: by the first key that both have the
// same, and of several with the same key in the order in which the derivations mention them.
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

// matchInputs finds which input of one side is which of the other. Those that differ are where the walk goes next.
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
		func(i candidate) string { return Name(i.Path) + " " + words(i.Outputs) },
		func(i candidate) string { return Name(i.Path) },
		func(i candidate) string { return versionless(Name(i.Path)) })
	for _, p := range both {
		c.sameInput(p[0], p[1])
	}
	for _, in := range c.a.Inputs {
		if other, ok := find(c.b.Inputs, in.Path); ok {
			c.inputOutputs(in, other)
		}
	}
	for _, i := range onlyA {
		c.note(InputRemoved, Name(i.Path), string(i.Path), unset)
	}
	for _, i := range onlyB {
		c.note(InputAdded, Name(i.Path), unset, string(i.Path))
	}
	return nil
}

// candidates are those of the inputs that are not among the others.
func candidates(ctx context.Context, t *tree, inputs, others []Input, used *mentions) ([]candidate, error) {
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

func find(inputs []Input, path nix.StorePath) (Input, bool) {
	i, ok := slices.BinarySearchFunc(inputs, path, func(in Input, path nix.StorePath) int { return cmp.Compare(in.Path, path) })
	if !ok {
		return Input{}, false
	}
	return inputs[i], true
}

// sameInput notes that two inputs are each other's counterparts.
func (c *comparison) sameInput(a, b candidate) {
	c.inputs = append(c.inputs, pair{a.Path, b.Path})
	c.names.samePath(a.Path, b.Path)
	for _, name := range outputsOf(a) {
		c.names.same(c.usedA.output(a, name), c.usedB.output(b, name), outputName(a.Path, name), outputName(b.Path, name))
	}
	if a.drv == nil || b.drv == nil || !a.usesAll() || !b.usesAll() { // new ones are told as the input's own
		c.inputOutputs(a.Input, b.Input)
	}
}

func (i candidate) usesAll() bool { return slices.Equal(i.Outputs, outputsOf(i)) }

func (c *comparison) inputOutputs(a, b Input) {
	if !slices.Equal(a.Outputs, b.Outputs) {
		c.note(InputOutputs, Name(a.Path), words(a.Outputs), words(b.Outputs))
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

// output returns how an output of an input is named in the text, without the directory. Of an input that is not here,
// it can be told by its name alone.
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

// matchSources finds which sources have other contents, or are on one side alone.
func (c *comparison) matchSources() {
	both, onlyA, onlyB := match(sources(c.a.Sources, c.b.Sources, c.usedA), sources(c.b.Sources, c.a.Sources, c.usedB),
		func(i candidate) string { return plainName(i.Path) })
	for _, p := range both {
		a, b := p[0].Path, p[1].Path
		c.names.samePath(a, b)
		if a.IsDerivation() { // whose text is used, as builtins.unsafeDiscardOutputDependency allows
			c.inputs = append(c.inputs, pair{a, b})
			continue
		}
		c.own = append(c.own, Difference{Kind: Source, Name: plainName(a), A: string(a), B: string(b), Uses: c.usedA.uses[a.Digest()]})
	}
	c.own = append(c.own, removed(onlyA, c.a, c.usedA)...)
	for _, d := range removed(onlyB, c.b, c.usedB) { // seen from the other side
		d.Kind = map[Kind]Kind{SourceRemoved: SourceAdded, InputRemoved: InputAdded}[d.Kind]
		d.A, d.B = d.B, d.A
		c.own = append(c.own, d)
	}
}

// removed tells of sources that d alone has. A derivation among them is an input of which only the text is used; where
// its outputs are as well, that is told already.
func removed(sources []candidate, d *Derivation, used *mentions) (all []Difference) {
	for _, s := range sources {
		if !s.Path.IsDerivation() {
			all = append(all, Difference{Kind: SourceRemoved, Name: plainName(s.Path), A: string(s.Path), B: unset, Uses: used.uses[s.Path.Digest()]})
		} else if _, ok := find(d.Inputs, s.Path); !ok {
			all = append(all, Difference{Kind: InputRemoved, Name: Name(s.Path), A: string(s.Path), B: unset})
		}
	}
	return all
}

func sources(paths, others []nix.StorePath, used *mentions) []candidate {
	var rest []candidate
	for _, path := range paths {
		if _, ok := slices.BinarySearch(others, path); !ok {
			rest = append(rest, candidate{Input{Path: path}, nil, used.place(path.Digest())})
		}
	}
	return rest
}
