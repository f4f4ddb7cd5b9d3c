package nixtext

import (
	"slices"
	"strings"
)

// Binding is PATH = VALUE; in an attribute set.
type Binding struct {
	Path  []string
	Line  int
	Value []Token
}

// Name returns the path with dots.
func (b Binding) Name() string { return strings.Join(b.Path, ".") }

// Set returns the bindings of a value that is an attribute set, and false where it is none. Complete is false where the
// set has more than bindings with plain names: inherit, or names that are computed.
func Set(value []Token) (all []Binding, complete, ok bool) {
	value = Unwrap(value)
	if len(value) > 0 && value[0].Is("rec") {
		value = value[1:]
	}
	if len(value) < 2 || value[0].Kind != '{' || closing(value) != len(value)-1 {
		return nil, false, false
	}
	complete = true
	value = value[1 : len(value)-1]
	for i := 0; i < len(value); {
		path, equals, isBinding := AttributePath(value, i)
		if !isBinding {
			complete = false
			i = ValueEnd(value, i) + 1
			continue
		}
		end := ValueEnd(value, equals+1)
		all = append(all, Binding{Path: path, Line: value[i].Line, Value: value[equals+1 : end]})
		i = end + 1
	}
	return all, complete, true
}

// maxDepth is how deep sets are searched: the deepest that a flake.nix is searched for is inputs = { self = { … }; };
const maxDepth = 4

// Walk calls visit with the bindings of a set, and of the sets that are their values, each with its whole path.
func Walk(value []Token, visit func(Binding)) { walk(nil, value, visit) }

func walk(prefix []string, value []Token, visit func(Binding)) {
	if len(prefix) > maxDepth {
		return
	}
	all, _, _ := Set(value)
	for _, b := range all {
		b.Path = slices.Concat(prefix, b.Path)
		visit(b)
		walk(b.Path, b.Value, visit)
	}
}

// ValueEnd returns the index of the semicolon that ends the value which begins at tokens[i], or of the bracket in which
// the value ends without one, or the number of tokens. let, with and assert have semicolons of their own.
func ValueEnd(tokens []Token, i int) int {
	depth, inner := 0, 0
	for ; i < len(tokens); i++ {
		switch t := tokens[i]; {
		case opens(t) || t.Is("let"):
			depth++
		case closes(t) || t.Is("in"):
			if depth == 0 {
				return i
			}
			depth--
		case depth > 0:
		case t.Is("with"), t.Is("assert"):
			inner++
		case t.Kind == ';' && inner > 0:
			inner--
		case t.Kind == ';':
			return i
		}
	}
	return i
}

// AttributePath reads the names before an equals sign, such as cargoLock.outputHashes."foo-0.1.0".
// It returns the index of the equals sign, and false where there is no such path.
func AttributePath(tokens []Token, i int) (path []string, equals int, ok bool) {
	for ; i+1 < len(tokens); i++ {
		switch t := tokens[i]; {
		case t.Kind == String && !t.Interpolated:
			path = append(path, t.Text)
		case t.Kind == Word && !strings.Contains(t.Text, "/"):
			path = append(path, strings.FieldsFunc(t.Text, func(r rune) bool { return r == '.' })...)
		default:
			return nil, i, false
		}
		switch {
		case tokens[i+1].Kind == '=':
			comparison := i+2 < len(tokens) && tokens[i+2].Kind == '='
			return path, i + 1, !comparison && len(path) > 0
		case tokens[i+1].Kind == '.':
			i++
		case tokens[i].Kind != Word || !strings.HasSuffix(tokens[i].Text, "."):
			return nil, i, false
		}
	}
	return nil, i, false
}

// Unwrap removes the parentheses around a whole value, up to [maxDepth] of them: each takes a search for its end.
func Unwrap(value []Token) []Token {
	for range maxDepth {
		if len(value) < 2 || value[0].Kind != '(' || closing(value) != len(value)-1 {
			break
		}
		value = value[1 : len(value)-1]
	}
	return value
}

// Operands splits a value at each // that is not in brackets.
func Operands(value []Token) [][]Token {
	var parts [][]Token
	depth, from := 0, 0
	for i, t := range value {
		switch {
		case opens(t):
			depth++
		case closes(t):
			depth--
		case depth == 0 && t.Kind == '/' && i > from && value[i-1].Kind == '/' && value[i-1].End == t.Start:
			parts = append(parts, value[from:i-1])
			from = i + 1
		}
	}
	return append(parts, value[from:])
}

// closing returns the index of the bracket that closes the first one; -1 where there is none.
func closing(value []Token) int {
	depth := 0
	for i, t := range value {
		switch {
		case opens(t):
			depth++
		case closes(t):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func opens(t Token) bool  { return t.Kind == '{' || t.Kind == '[' || t.Kind == '(' }
func closes(t Token) bool { return t.Kind == '}' || t.Kind == ']' || t.Kind == ')' }
