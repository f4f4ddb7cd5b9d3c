package nix

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Escape sequences of terminals: CSI (colours, cursor), OSC (titles, links) and two-character ones.
var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?|[@-Z\\\\^_])")

// PlainText returns s without escape sequences and control characters other than tabs and line breaks. A builder's output
// is untrusted: it could move the terminal's cursor or forge a line.
func PlainText(s string) string {
	if !needsPlaining(s) {
		return s
	}
	s = escapes.ReplaceAllString(s, "")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
}

func needsPlaining(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\n' && c != '\t' || c >= 0x7f {
			return true
		}
	}
	return false
}

// FirstLine returns the first line of s that is not empty, without "error:" before it.
func FirstLine(s string) string {
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		line = strings.TrimSpace(strings.TrimPrefix(line, "error:"))
		if line != "" {
			return line
		}
	}
	return ""
}
