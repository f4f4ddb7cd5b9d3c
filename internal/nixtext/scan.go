// Package nixtext reads plain data from Nix files without evaluation: attribute sets of strings and booleans, such as
// the inputs and the nixConfig of a flake.nix, and tables of hashes.
package nixtext

import (
	"strings"
	"unicode/utf8"
)

// The kinds of tokens that are not a single character.
const (
	wordToken = 'w'
	textToken = 's'
)

// token is a part of a Nix file: a word, a string, or a character that belongs to neither. A word includes the dots and
// slashes in it.
type token struct {
	kind byte // wordToken, textToken, or the character itself
	text string
	line int
	// start and end are its positions in the file.
	start, end int
	// interpolated says that a string has a ${…}, so that text is not its value.
	interpolated bool
}

func (t token) is(name string) bool { return t.kind == wordToken && t.text == name }

// scan cuts a Nix file into tokens. It never fails: text that is not Nix gives tokens too.
func scan(file string) []token {
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

// skip passes over white space and comments.
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
		t.kind = textToken
		t.text, t.interpolated = s.string(`"`)
	case strings.HasPrefix(rest, "''"):
		t.kind = textToken
		t.text, t.interpolated = s.string("''")
	case isWord(rest[0]):
		n := 1
		for n < len(rest) && (isWord(rest[n]) || strings.IndexByte("-'./+", rest[n]) >= 0) {
			n++
		}
		t.kind, t.text = wordToken, rest[:n]
		s.advance(n)
	default:
		_, n := utf8.DecodeRuneInString(rest)
		t.kind, t.text = rest[0], rest[:n]
		s.advance(n)
	}
	t.end = s.pos
	s.tokens = append(s.tokens, t)
}

// string reads a string to the mark that ends it. It replaces an escape by the escaped character, which is right
// for all but line breaks and tabs, and leaves out interpolations.
func (s *scanner) string(mark string) (value string, interpolated bool) {
	var b strings.Builder
	s.advance(len(mark))
	for s.pos < len(s.text) {
		rest := s.text[s.pos:]
		take, skip := 1, 0
		switch {
		case strings.HasPrefix(rest, "$$"):
			take = 2
		case mark == `"` && rest[0] == '\\':
			skip = 1
		case mark == "''" && strings.HasPrefix(rest, "''\\"):
			skip = 3
		case mark == "''" && (strings.HasPrefix(rest, "'''") || strings.HasPrefix(rest, "''$")):
			take, skip = 1, 2
		case strings.HasPrefix(rest, mark):
			s.advance(len(mark))
			return b.String(), interpolated
		case strings.HasPrefix(rest, "${"):
			interpolated = true
			s.interpolation()
			continue
		}
		s.advance(min(skip, len(rest)))
		rest = s.text[s.pos:]
		take = min(take, len(rest))
		b.WriteString(rest[:take])
		s.advance(take)
	}
	return b.String(), interpolated
}

// interpolation passes over ${…}, in which strings and braces nest.
func (s *scanner) interpolation() {
	s.advance(2)
	for depth := 1; depth > 0; {
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
func until(s, end string) int {
	if i := strings.Index(s, end); i >= 0 {
		return i
	}
	return len(s)
}
