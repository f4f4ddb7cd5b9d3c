package nixtext

import (
	"regexp"
	"slices"
	"strings"
)

// Parse reads a Nix file. It never fails: an invalid expression is a value of the kind Other. So is a set without its
// closing brace.
func Parse(file string) Value {
	p := parser{text: file}
	for i := range file {
		if file[i] == '\n' {
			p.newlines = append(p.newlines, i)
		}
	}
	p.advance(0)
	v := p.value()
	for p.pos < len(p.text) { // an unmatched bracket or semicolon
		p.advance(1)
		v = Value{Parts: []Value{v, p.value()}}
	}
	return v
}

// maxDepth is how deep values may nest. Parse stops where they nest deeper.
const maxDepth = 1000

type parser struct {
	text     string
	newlines []int
	pos      int // where the next token begins
	end      int // where the last one ended
	depth    int
}

var (
	namePattern     = regexp.MustCompile(`^(?:\w[\w'-]*|"(?:[^"\\$]|\\.)*")`)
	argumentPattern = regexp.MustCompile(`^(\w[\w'-]*)\s*(?:\?|$)`)
)

// advance passes over a token of n bytes, and over the white space and comments after it.
func (p *parser) advance(n int) {
	p.pos += n
	p.end = p.pos
	for p.pos < len(p.text) {
		switch {
		case strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0:
			p.pos++
		case p.at("#"):
			p.pos += until(p.text[p.pos:], "\n")
		case p.at("/*"):
			p.pos = min(len(p.text), p.pos+2+until(p.text[p.pos+2:], "*/")+2)
		default:
			return
		}
	}
}

// until returns the number of bytes before the first end; without an end, of all bytes.
func until(s, end string) int {
	if i := strings.Index(s, end); i >= 0 {
		return i
	}
	return len(s)
}

// at reports whether a text comes next.
func (p *parser) at(text string) bool { return strings.HasPrefix(p.text[p.pos:], text) }

// skip passes over a text, if it comes next.
func (p *parser) skip(text string) bool {
	found := p.at(text)
	if found {
		p.advance(len(text))
	}
	return found
}

// nextWord returns the name, number or path that comes next.
func (p *parser) nextWord() string {
	n := p.pos
	for n < len(p.text) && (isWord(p.text[n]) || n > p.pos && strings.IndexByte("./+'-", p.text[n]) >= 0) {
		n++
	}
	return p.text[p.pos:n]
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// ends reports whether a value ends here.
func (p *parser) ends() bool {
	return p.pos == len(p.text) || strings.IndexByte(";,)]}", p.text[p.pos]) >= 0 || p.at("in") && p.nextWord() == "in"
}

// value reads to the end of a value.
func (p *parser) value() Value {
	if p.depth++; p.depth > maxDepth {
		p.pos = len(p.text)
	}
	defer func() { p.depth-- }()
	begin := p.pos
	operands := []Value{p.operand()}
	for p.skip("//") {
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
	for ; !p.ends() && !p.at("//"); terms++ {
		if last = p.term(); last.Kind != Other || len(last.Parts) > 0 { // other characters are not kept
			v.Parts = append(v.Parts, last)
		}
	}
	if terms == 1 {
		return last
	}
	return p.since(begin, v)
}

// since completes a value that began at a position.
func (p *parser) since(begin int, v Value) Value {
	end := max(begin, p.end)
	v.Line, v.Last, v.Source = p.line(begin), p.line(max(begin, end-1)), p.text[begin:end]
	return v
}

func (p *parser) line(pos int) int {
	before, _ := slices.BinarySearch(p.newlines, pos)
	return before + 1
}

// term reads a name, a string, a value in brackets, or what comes before the body of an expression: let … in, with …; and so
// on.
func (p *parser) term() (v Value) {
	begin, word := p.pos, p.nextWord()
	switch {
	case p.at(`"`):
		p.string(&v, `"`)
	case p.at("''"):
		p.string(&v, "''")
	case p.skip("("):
		inner := p.value()
		if p.skip(")") {
			return inner
		}
		v.Parts = []Value{inner}
	case p.skip("["):
		v.Parts = []Value{p.value()}
		p.skip("]")
	case p.skip("{"):
		p.bindings(&v, Set)
	case word == "":
		p.advance(1)
	default:
		p.advance(len(word))
		p.word(&v, word)
	}
	return p.since(begin, v)
}

// word completes the term that begins with a word.
func (p *parser) word(v *Value, word string) {
	switch {
	case word == "rec" && p.skip("{"):
		v.IsRecursive = true
		p.bindings(v, Set)
	case word == "let":
		p.bindings(v, Let)
	case word == "with", word == "assert":
		v.Parts = []Value{p.value()}
		p.skip(";")
	default:
		v.Kind, v.Text = Name, word
		if p.at(":") {
			v.Arguments = []string{word}
		}
	}
}

// string reads a string to the mark that ends it. It replaces an escape by the escaped character, which is right for all
// but line breaks and tabs.
func (p *parser) string(v *Value, mark string) {
	var b strings.Builder
	v.Kind = Text
	for p.pos += len(mark); p.pos < len(p.text); {
		take, escape := 1, 0
		switch {
		case p.at("$$"):
			take = 2
		case mark == `"` && p.at(`\`):
			escape = 1
		case mark == "''" && p.at("''\\"):
			escape = 3
		case mark == "''" && p.at("'''"):
			take, escape = 2, 1
		case mark == "''" && p.at("''$"):
			escape = 2
		case p.at(mark):
			v.Text = b.String()
			p.advance(len(mark))
			return
		case p.at("${"):
			v.Kind = Other
			p.advance(2)
			for p.value(); p.pos < len(p.text) && !p.at("}"); p.value() {
				p.advance(1)
			}
			take, escape = 0, 1 // the closing brace
		}
		begin := min(len(p.text), p.pos+escape)
		p.pos = min(len(p.text), begin+take)
		b.WriteString(p.text[begin:p.pos])
	}
	v.Kind, p.end = Other, p.pos
}

// bindings reads the bindings of a set or a let, and the token that ends them. The value has that kind if there is one.
func (p *parser) bindings(v *Value, kind Kind) {
	for p.pos < len(p.text) {
		begin := p.pos
		if kind == Set && p.skip("}") || kind == Let && p.nextWord() == "in" && p.skip("in") {
			v.Kind = kind
			return
		}
		if p.nextWord() == "inherit" {
			p.inherit(v)
		} else if path := p.path(); path != nil {
			v.Bindings = append(v.Bindings, Binding{Path: path, Line: p.line(begin), Value: p.value()})
		} else {
			part := p.value()
			if m := argumentPattern.FindStringSubmatch(part.Source); m != nil {
				v.Arguments = append(v.Arguments, m[1])
			}
			v.Parts = append(v.Parts, part)
			if p.pos == begin {
				p.advance(1) // a character that ends nothing
			}
		}
		_ = p.skip(";") || p.skip(",")
	}
}

// inherit reads the names of an inherit.
func (p *parser) inherit(v *Value) {
	p.skip("inherit")
	kind := Inherited
	if p.at("(") {
		kind = InheritedFrom
		v.Parts = append(v.Parts, p.term())
	}
	for !p.ends() {
		name := namePattern.FindString(p.text[p.pos:])
		if name != "" {
			v.Bindings = append(v.Bindings, Binding{Path: []string{unquoted(name)}, Line: p.line(p.pos), Value: Value{Kind: kind, Source: "inherited"}})
		}
		p.advance(max(1, len(name)))
	}
}

// path reads names with dots between them, such as cargoLock.outputHashes."foo-0.1.0", and the equals sign after them.
// If these do not come next, it reads nothing.
func (p *parser) path() (names []string) {
	begin := *p
	for {
		name := namePattern.FindString(p.text[p.pos:])
		if name == "" {
			break
		}
		p.advance(len(name))
		names = append(names, unquoted(name))
		if !p.at("==") && p.skip("=") {
			return names
		}
		if !p.skip(".") {
			break
		}
	}
	*p = begin
	return nil
}

// unquoted returns the name that a path has, with or without quotation marks.
func unquoted(name string) string {
	if quoted, ok := strings.CutPrefix(name, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `\`, "")
	}
	return name
}
