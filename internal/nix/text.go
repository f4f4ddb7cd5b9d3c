package nix

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Escape sequences of terminals: CSI (colours, cursor), OSC (titles, links) and two-character ones.
var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?|[@-Z\\\\^_])")

// PlainText returns s without escape sequences and control characters, but for tabs and line breaks.
// A builder's output is untrusted: shown as it is, it could move a terminal's cursor or forge a line.
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

var sourcePath = regexp.MustCompile(`/nix/store/[0-9a-z]{32}-source/`)

// ShortError returns from what Nix wrote to its standard error the part that a person needs:
// the innermost error with its position and excerpt, without the trace that led there.
// Positions in a flake's source are given relative to the flake.
func ShortError(stderr string) string {
	text := PlainText(stderr)
	if i := strings.LastIndex(text, "error:"); i >= 0 {
		text = text[i+len("error:"):]
	}
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\n")
		if strings.Contains(line, "(use '--show-trace'") || strings.HasPrefix(line, "(stack trace truncated") {
			continue
		}
		lines = append(lines, line)
	}
	text = strings.Trim(strings.Join(lines, "\n"), "\n")
	return sourcePath.ReplaceAllString(strings.TrimSpace(text), "")
}

// FirstLine returns the first line of s that says something, without an "error:" in front of it.
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
