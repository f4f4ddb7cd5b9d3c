package contract

import (
	"strings"
	"unicode/utf8"
)

// token is a part of a Nix file: a word, a string, or one character that is neither.
type token struct {
	kind  byte // 'w' for a word, 's' for a string, else the character itself
	text  string
	line  int
	start int // where it begins in the file, and where it has ended
	end   int
	// open says that a string has an antiquotation, so that its text is not its value.
	open bool
}

// tokens cuts a Nix file up as far as a reader of plain data needs it. It never fails: what is not Nix
// gives tokens of which nothing is found.
func tokens(file string) []token {
	s := scanner{text: file, line: 1}
	for s.skip(); s.pos < len(s.text); s.skip() {
		s.next()
	}
	return s.tokens
}

type scanner struct {
	text   string
	pos    int
	line   int
	tokens []token
}

// skip passes over space and comments.
func (s *scanner) skip() {
	for s.pos < len(s.text) {
		rest := s.text[s.pos:]
		switch {
		case strings.ContainsRune(" \t\r\n", rune(rest[0])):
			s.advance(1)
		case rest[0] == '#':
			s.advance(until(rest, "\n"))
		case strings.HasPrefix(rest, "/*"):
			s.advance(min(len(rest), 2+until(rest[2:], "*/")+2))
		default:
			return
		}
	}
}

func (s *scanner) next() {
	t := token{line: s.line, start: s.pos}
	rest := s.text[s.pos:]
	switch {
	case rest[0] == '"':
		t.kind = 's'
		t.text, t.open = s.quoted()
	case strings.HasPrefix(rest, "''"):
		t.kind = 's'
		t.text, t.open = s.indented()
	case isWord(rest[0]):
		n := 1
		for n < len(rest) && (isWord(rest[n]) || strings.IndexByte("-'./+", rest[n]) >= 0) {
			n++
		}
		t.kind, t.text = 'w', rest[:n]
		s.advance(n)
	default:
		_, n := utf8.DecodeRuneInString(rest)
		t.kind, t.text = rest[0], rest[:n]
		s.advance(n)
	}
	t.end = s.pos
	s.tokens = append(s.tokens, t)
}

// quoted reads "…", with its escapes resolved.
func (s *scanner) quoted() (text string, open bool) {
	var b strings.Builder
	s.advance(1)
	for s.pos < len(s.text) {
		rest := s.text[s.pos:]
		switch {
		case rest[0] == '"':
			s.advance(1)
			return b.String(), open
		case rest[0] == '\\' && len(rest) > 1:
			b.WriteByte(rest[1])
			s.advance(2)
		case strings.HasPrefix(rest, "${"):
			open = true
			s.antiquotation()
		default:
			b.WriteByte(rest[0])
			s.advance(1)
		}
	}
	return b.String(), open
}

// indented reads a string between double apostrophes. Such strings are shell code; nothing looks into them.
func (s *scanner) indented() (text string, open bool) {
	start := s.pos
	s.advance(2)
	for s.pos < len(s.text) {
		rest := s.text[s.pos:]
		switch {
		case strings.HasPrefix(rest, "'''"), strings.HasPrefix(rest, "''$"):
			s.advance(3)
		case strings.HasPrefix(rest, "''\\"):
			s.advance(min(4, len(rest)))
		case strings.HasPrefix(rest, "''"):
			s.advance(2)
			return s.text[start+2 : s.pos-2], open
		case strings.HasPrefix(rest, "${"):
			open = true
			s.antiquotation()
		default:
			s.advance(1)
		}
	}
	return "", open
}

// antiquotation passes over ${…}, in which strings and braces nest.
func (s *scanner) antiquotation() {
	s.advance(2)
	for depth := 1; depth > 0 && s.pos < len(s.text); {
		s.skip()
		if s.pos == len(s.text) {
			return
		}
		before := len(s.tokens)
		s.next()
		switch s.tokens[before].kind {
		case '{':
			depth++
		case '}':
			depth--
		}
		s.tokens = s.tokens[:before]
	}
}

func (s *scanner) advance(n int) {
	s.line += strings.Count(s.text[s.pos:s.pos+n], "\n")
	s.pos += n
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// until returns the number of bytes before the first end, or of all.
func until(text, end string) int {
	if i := strings.Index(text, end); i >= 0 {
		return i
	}
	return len(text)
}

// binding is NAME = VALUE; in an attribute set.
type binding struct {
	name  string
	line  int
	value []token
}

// bindings reads the attribute set that begins at tokens[i], an opening brace.
// It returns the index behind its end, and false where the set is more than names and values.
func bindings(tokens []token, i int) (all []binding, end int, ok bool) {
	for i++; i < len(tokens); {
		if tokens[i].kind == '}' {
			return all, i + 1, true
		}
		if i+1 >= len(tokens) || tokens[i].kind != 'w' && tokens[i].kind != 's' || tokens[i].open || tokens[i+1].kind != '=' {
			return all, i, false
		}
		end := valueEnd(tokens, i+2)
		all = append(all, binding{name: tokens[i].text, line: tokens[i].line, value: tokens[i+2 : end]})
		i = end + 1
	}
	return all, i, false
}

// valueEnd returns the index of the semicolon that ends the value which begins at tokens[i], or of the end of the file.
// A let has semicolons of its own, and so have with and assert.
func valueEnd(tokens []token, i int) int {
	depth, inner := 0, 0
	for ; i < len(tokens); i++ {
		switch t := tokens[i]; {
		case t.kind == '{' || t.kind == '[' || t.kind == '(' || t.is("let"):
			depth++
		case t.kind == '}' || t.kind == ']' || t.kind == ')' || t.is("in"):
			depth--
		case depth == 0 && (t.is("with") || t.is("assert")):
			inner++
		case depth == 0 && t.kind == ';' && inner > 0:
			inner--
		case depth <= 0 && t.kind == ';':
			return i
		}
	}
	return i
}

// is tells whether the token is that word.
func (t token) is(word string) bool { return t.kind == 'w' && t.text == word }

// attributePath reads the names before an equals sign, such as cargoLock.outputHashes."foo-0.1.0".
// It returns the index of the equals sign, and false where there is no such path.
func attributePath(tokens []token, i int) (path []string, end int, ok bool) {
	for ; i < len(tokens); i++ {
		switch t := tokens[i]; {
		case t.kind == 's' && !t.open:
			path = append(path, t.text)
		case t.kind == 'w' && !strings.Contains(t.text, "/"):
			path = append(path, strings.FieldsFunc(t.text, func(r rune) bool { return r == '.' })...)
		default:
			return nil, i, false
		}
		switch {
		case i+1 >= len(tokens):
			return nil, i, false
		case tokens[i+1].kind == '=':
			ok = i+2 >= len(tokens) || tokens[i+2].kind != '=' // a comparison
			return path, i + 1, ok
		case tokens[i+1].kind == '.':
			i++
		case tokens[i].kind != 'w' || !strings.HasSuffix(tokens[i].text, "."):
			return nil, i, false
		}
	}
	return nil, i, false
}
