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
		if i+1 >= len(tokens) || tokens[i].kind != 'w' && tokens[i].kind != 's' || tokens[i+1].kind != '=' {
			return all, i, false
		}
		b := binding{name: tokens[i].text, line: tokens[i].line}
		depth := 0
		for i += 2; i < len(tokens) && (depth > 0 || tokens[i].kind != ';'); i++ {
			switch tokens[i].kind {
			case '{', '[', '(':
				depth++
			case '}', ']', ')':
				depth--
			}
			b.value = append(b.value, tokens[i])
		}
		all = append(all, b)
		i++ // the semicolon
	}
	return all, i, false
}
