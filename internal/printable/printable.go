// Package printable cleans untrusted text for a terminal, the log of a CI job, and JSON.
//
// Such text comes from flakes, builders, caches and files. It may have escape sequences that set the clipboard or the title
// of a terminal, characters that reorder the text around them, and lines that are commands for GitHub's runner.
package printable

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Line returns text as one line without escape sequences, control characters and characters that have no width or
// change the direction of text. It keeps tabs.
func Line(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || isLineBreak(r):
			return ' '
		case r < utf8.RuneSelf:
			return r
		case isIgnorable(r):
			return -1
		}
		return r
	}, nix.PlainText(strings.TrimRight(text, "\r\n")))
}

// Text returns text with each of its lines cleaned as [Line] does it.
func Text(text string) string { return eachLine(text, Line) }

// Log is [Text], where no line is a command for GitHub's runner.
func Log(text string) string {
	return eachLine(text, func(line string) string { return Disarm(Line(line)) })
}

func eachLine(text string, clean func(string) string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}

// isLineBreak reports whether a character is a line break of Unicode outside of ASCII.
func isLineBreak(r rune) bool { return r == '\u2028' || r == '\u2029' }

// isIgnorable reports whether a character has no width. Some of these characters change the direction of the text around
// them, some hide text, and GitHub's runner ignores all of them when it searches for commands.
func isIgnorable(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// For GitHub's runner, a line is a command if it begins with "::" after white space, or has "##[" anywhere. See
// https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs. Its comparisons depend on the language, so
// they may ignore marks between these characters.
var (
	commandAtStart  = regexp.MustCompile(`^[\s\p{Z}\p{M}]*:\p{M}*:`)
	commandAnywhere = regexp.MustCompile(`(#\p{M}*#\p{M}*)\[`)
)

// Disarm changes a line so that it is no command for GitHub's runner.
func Disarm(line string) string {
	if strings.Contains(line, "[") {
		line = commandAnywhere.ReplaceAllString(line, "$1 [")
	}
	if strings.Contains(line, ":") && commandAtStart.MatchString(line) {
		line = "> " + line
	}
	return line
}

// Cut shortens text to at most n bytes of whole characters, and adds an ellipsis.
func Cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

// Escaped returns text with the escapes of Go for all characters that cannot be shown. Quotes and backslashes stay.
func Escaped(text string) string {
	quoted := strconv.Quote(text)
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(quoted[1 : len(quoted)-1])
}

// LastDrawn returns what a terminal shows of a line that overwrites itself with carriage returns, as progress bars do.
func LastDrawn(line string) string {
	line = strings.TrimRight(line, "\r\n")
	return line[strings.LastIndexByte(line, '\r')+1:]
}
