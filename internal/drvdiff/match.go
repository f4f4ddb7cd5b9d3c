package drvdiff

import (
	"cmp"
	"context"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"

	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// candidate is an input or a source whose path the other side does not have.
type candidate struct {
	input
	source bool
	drv    *derivation // nil for a source, or if the side does not have it
	place  int         // of its first mention
}

// keys are what two corresponding candidates have in common, the best one first.
func (c candidate) keys() [3]string {
	if c.source {
		name := "source " + plainName(c.Path)
		return [...]string{name, name, name}
	}
	name := "input " + nix.DerivationName(c.Path)
	versionless, _ := nix.ParseDrvName(name)
	return [...]string{name + " " + words(c.Outputs), name, versionless}
}

func (c candidate) id() string { return c.keys()[0] + string(c.Path) }

// match pairs the candidates of both sides that correspond: by the best key first, and candidates with the same key in the
// order of their mentions.
func match(a, b []candidate) (both [][2]candidate, onlyA, onlyB []candidate) {
	inPlace := func(x, y candidate) int { return cmp.Compare(x.place, y.place) }
	slices.SortStableFunc(a, inPlace)
	slices.SortStableFunc(b, inPlace)
	for i := range len(candidate{}.keys()) {
		unpaired := map[string][]candidate{}
		for _, y := range b {
			unpaired[y.keys()[i]] = append(unpaired[y.keys()[i]], y)
		}
		taken := map[string]bool{} // an input and a source can have the same path
		var rest []candidate
		for _, x := range a {
			if ys := unpaired[x.keys()[i]]; len(ys) > 0 {
				both = append(both, [2]candidate{x, ys[0]})
				unpaired[x.keys()[i]] = ys[1:]
				taken[ys[0].id()] = true
				continue
			}
			rest = append(rest, x)
		}
		a, b = rest, slices.DeleteFunc(b, func(y candidate) bool { return taken[y.id()] })
	}
	return both, a, b
}

// references pairs the inputs and the sources of both sides. The walk continues with the derivations that differ.
func (c *comparison) references(ctx context.Context) error {
	restA, err := c.a.candidates(ctx, c.b.derivation)
	if err != nil {
		return err
	}
	restB, err := c.b.candidates(ctx, c.a.derivation)
	if err != nil {
		return err
	}
	both, onlyA, onlyB := match(restA, restB)
	for _, p := range both {
		c.correspond(p[0], p[1])
	}
	for _, in := range c.a.Inputs {
		if other, ok := c.b.input(in.Path); ok {
			c.inputOutputs(in, other)
		}
	}
	for _, x := range onlyA {
		c.own = append(c.own, x.only(c.a, InputRemoved, SourceRemoved)...)
	}
	for _, y := range onlyB {
		for _, d := range y.only(c.b, InputAdded, SourceAdded) {
			d.A, d.B = d.B, d.A
			c.own = append(c.own, d)
		}
	}
	return nil
}

// candidates returns the inputs and sources that the other derivation does not have.
func (h *half) candidates(ctx context.Context, other *derivation) (rest []candidate, err error) {
	for _, in := range h.Inputs {
		if _, ok := other.input(in.Path); ok {
			continue
		}
		d, err := h.tree.load(ctx, in.Path)
		if err != nil {
			return nil, err
		}
		place := h.place(in.Path)
		if d != nil {
			for _, o := range d.Outputs {
				place = min(place, h.place(o.Path))
			}
		}
		rest = append(rest, candidate{input: in, drv: d, place: place})
	}
	for _, path := range h.Sources {
		if _, ok := slices.BinarySearch(other.Sources, path); !ok {
			rest = append(rest, candidate{input: input{Path: path}, source: true, place: h.place(path)})
		}
	}
	return rest, nil
}

// correspond records that two inputs or two sources have the same role.
func (c *comparison) correspond(a, b candidate) {
	c.label(a.Path, b.Path)
	if a.source && !a.Path.IsDerivation() {
		c.add(Difference{Kind: Source, Name: plainName(a.Path), A: string(a.Path), B: string(b.Path), Uses: c.a.uses[a.Path.Digest()]})
		return
	}
	c.inputs = append(c.inputs, pair{a.Path, b.Path})
	for _, name := range a.outputNames() {
		c.labelAs(c.a.objectOf(a, name), c.b.objectOf(b, name), outputName(a.Path, name), outputName(b.Path, name))
	}
	if a.drv == nil || b.drv == nil || !a.usesAll() || !b.usesAll() { // a new output is a difference of the input itself
		c.inputOutputs(a.input, b.input)
	}
}

func (c candidate) usesAll() bool { return slices.Equal(c.Outputs, c.outputNames()) }

func (c candidate) outputNames() []string {
	if c.drv == nil {
		return c.Outputs
	}
	return c.drv.outputNames()
}

func (c *comparison) inputOutputs(a, b input) {
	if !slices.Equal(a.Outputs, b.Outputs) {
		c.add(Difference{Kind: InputOutputs, Name: nix.DerivationName(a.Path), A: words(a.Outputs), B: words(b.Outputs)})
	}
}

// only is the difference of an input or source that only one side has. The text of a derivation can be a source
// (builtins.unsafeDiscardOutputDependency); if its outputs are used too, it is already reported.
func (c candidate) only(h *half, asInput, asSource Kind) []Difference {
	if c.source && !c.Path.IsDerivation() {
		return []Difference{{Kind: asSource, Name: plainName(c.Path), A: string(c.Path), B: unset, Uses: h.uses[c.Path.Digest()]}}
	}
	if _, ok := h.input(c.Path); ok && c.source {
		return nil
	}
	return []Difference{{Kind: asInput, Name: nix.DerivationName(c.Path), A: string(c.Path), B: unset}}
}

const maxUses = 3

// mentions are the store objects that the builder, arguments and variables of a derivation name.
type mentions struct {
	first map[string]int      // by digest: the number of objects before it
	uses  map[string][]string // by digest: "env src", "builder", "arg 2"
	base  map[string]string   // by name: the base name of the first object with it
}

func mentionsOf(d *derivation) *mentions {
	m := &mentions{map[string]int{}, map[string][]string{}, map[string]string{}}
	m.scan("builder", d.Builder)
	for i, arg := range d.Args {
		m.scan("arg "+strconv.Itoa(i+1), arg)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Env)) {
		switch name {
		case "builder": // already scanned
		case structured:
			m.scan("structured attributes", d.Env[name])
		default:
			m.scan("env "+printable.Escaped(bounded(name)), d.Env[name])
		}
	}
	return m
}

var objectName = regexp.MustCompile(`/nix/store/(([0-9a-df-np-sv-z]{32})-([0-9A-Za-z+._?=-]+))`)

func (m *mentions) scan(use, text string) {
	for _, found := range objectName.FindAllStringSubmatch(text, -1) {
		base, digest, name := found[1], found[2], found[3]
		if _, ok := m.first[digest]; !ok {
			m.first[digest] = len(m.first)
		}
		if uses := m.uses[digest]; len(uses) < maxUses && !slices.Contains(uses, use) {
			m.uses[digest] = append(uses, use)
		}
		if _, ok := m.base[name]; !ok {
			m.base[name] = base
		}
	}
}

// place returns the position of the first mention; the largest number if there is none.
func (m *mentions) place(path nix.StorePath) int {
	if at, ok := m.first[path.Digest()]; ok {
		return at
	}
	return math.MaxInt
}

// objectOf returns the base name of an output of an input in the text. If the side does not have the input, it looks for the
// name only.
func (m *mentions) objectOf(c candidate, name string) string {
	if c.drv == nil {
		return m.base[outputName(c.Path, name)]
	}
	o, ok := c.drv.output(name)
	switch {
	case !ok:
		return ""
	case o.Path == "":
		return placeholder(c.Path, name)
	}
	return o.Path.Base()
}

// plainName is the name of a source without a digest at its beginning: "./." in a flake is
// "/nix/store/<digest>-source"; some versions of Nix make it "/nix/store/<digest>-<digest>-source".
func plainName(source nix.StorePath) string {
	const digestLength = 32
	name := source.Name()
	for len(name) > digestLength+1 && name[digestLength] == '-' && nixbase32.ValidateString(name[:digestLength]) == nil {
		name = name[digestLength+1:]
	}
	return name
}
