package nixtext

import (
	"slices"
	"strings"
)

// Kind is the kind of a value.
type Kind int

// The kinds of values.
const (
	Other         Kind = iota // an expression that only Nix can evaluate
	Name                      // a name, a path or a number
	Text                      // a string without interpolations
	Set                       // an attribute set
	Let                       // the bindings of a let
	Merge                     // several values with // between them, which are its Parts
	Inherited                 // the value of inherit NAME;
	InheritedFrom             // the value of inherit (…) NAME;
)

// Value is an expression, as far as it is read without evaluation. Parentheses around a whole value are left out.
type Value struct {
	Kind Kind
	// Text is the name, or the value of the string.
	Text string
	// Source is the value as it is written, from its first to its last line.
	Source      string
	Line, Last  int
	Bindings    []Binding
	IsRecursive bool // rec { … }
	// IsPartial says that a set has names that are computed, or is the arguments of a function.
	IsPartial bool
	// Arguments are the names of a function's arguments.
	Arguments []string
	// Parts are the values in it that belong to no binding.
	Parts []Value
}

// Binding is PATH = VALUE; in an attribute set or a let.
type Binding struct {
	Path  []string
	Line  int
	Value Value
}

// Name returns the path with dots.
func (b Binding) Name() string { return strings.Join(b.Path, ".") }

// IsInherited tells whether the binding is by inherit.
func (b Binding) IsInherited() bool {
	return b.Value.Kind == Inherited || b.Value.Kind == InheritedFrom
}

// Walk calls visit with the bindings of a set, and of the sets that are their values, each with its whole path.
func (v Value) Walk(visit func(Binding)) { v.walk(nil, visit) }

func (v Value) walk(prefix []string, visit func(Binding)) {
	for _, b := range v.Bindings {
		if v.Kind == Set && !b.IsInherited() {
			b.Path = slices.Concat(prefix, b.Path)
			visit(b)
			b.Value.walk(b.Path, visit)
		}
	}
}

// Strings returns all strings in a value that is no set.
func (v Value) Strings() (all []string) {
	if v.Kind == Text {
		return []string{v.Text}
	}
	for _, part := range v.Parts {
		all = append(all, part.Strings()...)
	}
	return all
}

// Parse reads a Nix file. It never fails: what is not Nix is a value of the kind Other. A set without its closing brace is
// one too.
func Parse(file string) Value {
	p := parser{text: file, tokens: scan(file)}
	v := p.value()
	for p.pos < len(p.tokens) { // a bracket or a semicolon too many
		p.pos++
		v = Value{Parts: []Value{v, p.value()}}
	}
	return v
}

// maxDepth is how deep values may nest. The rest of a file in which they nest deeper is not read.
const maxDepth = 1000

type parser struct {
	text   string
	tokens []token
	pos    int
	depth  int
}

// at tells whether the next token is of that kind.
func (p *parser) at(kind byte) bool {
	return p.pos < len(p.tokens) && p.tokens[p.pos].kind == kind
}

// ends tells whether the next token ends a value.
func (p *parser) ends() bool {
	return p.pos == len(p.tokens) || strings.IndexByte(";,)]}", p.tokens[p.pos].kind) >= 0 || p.tokens[p.pos].is("in")
}

// skip passes over the next token, if it is of that kind.
func (p *parser) skip(kind byte) bool {
	found := p.at(kind)
	if found {
		p.pos++
	}
	return found
}

// merges tells whether the operator // comes next.
func (p *parser) merges() bool {
	return p.at('/') && p.pos+1 < len(p.tokens) && p.tokens[p.pos+1].kind == '/' && p.tokens[p.pos].end == p.tokens[p.pos+1].start
}

// value reads to the token that ends a value.
func (p *parser) value() Value {
	if p.depth++; p.depth > maxDepth {
		p.pos = len(p.tokens)
	}
	defer func() { p.depth-- }()
	begin := p.pos
	operands := []Value{p.operand()}
	for p.merges() {
		p.pos += 2
		operands = append(operands, p.operand())
	}
	if len(operands) == 1 {
		return operands[0]
	}
	return p.since(begin, Value{Kind: Merge, Parts: operands})
}

// operand reads to the end of a value, or to the operator //.
func (p *parser) operand() Value {
	begin, terms := p.pos, 0
	var v, last Value
	for ; !p.ends() && !p.merges(); terms++ {
		if last = p.term(); last.Kind != Other || len(last.Parts) > 0 { // other characters are not kept
			v.Parts = append(v.Parts, last)
		}
	}
	if terms == 1 {
		return last
	}
	return p.since(begin, v)
}

// since completes a value that begins at a token, and ends before the next one.
func (p *parser) since(begin int, v Value) Value {
	if begin < p.pos {
		first, last := p.tokens[begin], p.tokens[p.pos-1]
		v.Line, v.Last, v.Source = first.line, last.line, p.text[first.start:last.end]
	}
	return v
}

// term reads a name, a string, a value in brackets, or what comes before the body of an expression: let … in, with …; and so
// on.
func (p *parser) term() Value {
	begin, t := p.pos, p.tokens[p.pos]
	p.pos++
	v := Value{Text: t.text}
	switch {
	case t.kind == textToken && !t.interpolated:
		v.Kind = Text
	case t.kind == '(':
		inner := p.value()
		if p.skip(')') {
			return inner
		}
		v.Parts = []Value{inner}
	case t.kind == '[':
		v.Parts = []Value{p.value()}
		p.skip(']')
	case t.kind == '{':
		p.set(&v)
	case t.is("rec") && p.skip('{'):
		v.IsRecursive = true
		p.set(&v)
	case t.is("let"):
		v.Kind = Let
		p.bindings(&v, func(t token) bool { return t.is("in") })
	case t.is("with"), t.is("assert"):
		v.Parts = []Value{p.value()}
		p.skip(';')
	case t.kind == wordToken:
		v.Kind = Name
		if p.at(':') {
			v.Arguments = []string{t.text}
		}
	}
	return p.since(begin, v)
}

func (p *parser) set(v *Value) {
	if p.bindings(v, func(t token) bool { return t.kind == '}' }) {
		v.Kind = Set
	}
}

// bindings reads the bindings of a set or a let, and the token that ends them. It returns whether there is such a token.
func (p *parser) bindings(v *Value, ends func(token) bool) bool {
	for p.pos < len(p.tokens) {
		begin, t := p.pos, p.tokens[p.pos]
		path, equals := p.path()
		switch {
		case ends(t):
			p.pos++
			return true
		case t.is("inherit"):
			p.inherit(v)
		case equals > 0:
			p.pos = equals + 1
			v.Bindings = append(v.Bindings, Binding{Path: path, Line: t.line, Value: p.value()})
		default:
			v.IsPartial = true
			v.Parts = append(v.Parts, p.value())
			if next := begin + 1; t.kind == wordToken && next < len(p.tokens) && strings.IndexByte(",?}", p.tokens[next].kind) >= 0 {
				v.Arguments = append(v.Arguments, t.text)
			}
			if p.pos == begin {
				p.pos++ // a token that ends nothing
			}
		}
		_ = p.skip(';') || p.skip(',')
	}
	return false
}

// inherit reads the names of an inherit.
func (p *parser) inherit(v *Value) {
	p.pos++
	kind := Inherited
	if p.at('(') {
		kind = InheritedFrom
		v.Parts = append(v.Parts, p.term())
	}
	for ; !p.ends(); p.pos++ {
		t := p.tokens[p.pos]
		v.Bindings = append(v.Bindings, Binding{Path: []string{t.text}, Line: t.line, Value: Value{Kind: kind, Source: "inherited"}})
	}
}

// path reads the names before an equals sign, such as cargoLock.outputHashes."foo-0.1.0". It returns the index of the equals
// sign, and 0 where there is no such path.
func (p *parser) path() (names []string, equals int) {
	for i := p.pos; i+1 < len(p.tokens); i++ {
		t, next := p.tokens[i], p.tokens[i+1]
		switch {
		case t.kind == textToken && !t.interpolated:
			names = append(names, t.text)
		case t.kind == wordToken && !strings.Contains(t.text, "/"):
			names = append(names, strings.FieldsFunc(t.text, func(r rune) bool { return r == '.' })...)
		default:
			return nil, 0
		}
		switch {
		case next.kind == '=':
			if comparison := i+2 < len(p.tokens) && p.tokens[i+2].kind == '='; comparison || len(names) == 0 {
				return nil, 0
			}
			return names, i + 1
		case next.kind == '.':
			i++
		case t.kind != wordToken || !strings.HasSuffix(t.text, "."):
			return nil, 0
		}
	}
	return nil, 0
}
