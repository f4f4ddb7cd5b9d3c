package report

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sethvargo/go-githubactions"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// shown is text that an [Output] writes without cleaning it: cleaned foreign text, with escape sequences and workflow
// commands of this package. Only the functions of this file convert strings to it; they clean all but constants.
type shown string

// clean makes one line of foreign text, safe to show.
func (s style) clean(text string) shown {
	text = printable.Disarm(printable.Line(text))
	if s.ascii {
		text = strings.Map(func(r rune) rune {
			if r >= utf8.RuneSelf {
				return '?'
			}
			return r
		}, text)
	}
	return shown(text)
}

// color is a parameter of the escape sequence that selects how text looks.
type color string

const (
	bold   color = "1"
	dim    color = "2"
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	cyan   color = "36"
)

func (s style) paint(c color, text shown) shown {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + shown(c) + "m" + text + "\x1b[0m"
}

func cursorUp(n int) shown { return shown(fmt.Sprintf("\x1b[%dA", n)) }

func (s style) spinner(frame int64) shown {
	frames := []shown{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}
	if s.ascii {
		frames = []shown{"|", "/", "-", `\`}
	}
	return s.paint(cyan, frames[frame%int64(len(frames))]) + " "
}

// truncate cuts cleaned text without escape sequences to a width in columns. It replaces tabs and characters that may be
// two columns wide: terminals differ in the widths, and a line that wraps cannot be erased.
func (s style) truncate(text shown, width int) shown {
	runes := []rune(string(text))
	for i, r := range runes {
		if r == '\t' || r >= 0x1100 && (r < 0x2000 || r >= 0x2300) {
			runes[i] = '?'
		}
	}
	if len(runes) <= width {
		return shown(string(runes))
	}
	ellipsis := []rune("…")
	if s.ascii {
		ellipsis = []rune("...")
	}
	if width <= len(ellipsis) {
		return shown(string(runes[:max(width, 0)]))
	}
	return shown(string(runes[:width-len(ellipsis)]) + string(ellipsis))
}

// command returns a workflow command as one line, without control characters: the encoding escapes line breaks.
func command(issue func(*githubactions.Action)) shown { return shown(printable.Line(encoded(issue))) }

// maskCommand returns the command that hides a secret. It does not clean the secret.
func maskCommand(secret string) shown {
	return shown(encoded(func(c *githubactions.Action) { c.AddMask(secret) }))
}

// encoded returns a command as the library writes it. The library panics if it cannot write, so it writes to memory: a
// broken log must not fail a build.
func encoded(issue func(*githubactions.Action)) string {
	var line bytes.Buffer
	issue(githubactions.New(githubactions.WithWriter(&line)))
	return strings.TrimRight(line.String(), "\r\n")
}

func document(value any, indent string) (shown, error) {
	text, err := printable.JSON(value, indent)
	return shown(text), err
}

func joinLines(lines []shown) shown {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(string(line) + "\n")
	}
	return shown(b.String())
}
