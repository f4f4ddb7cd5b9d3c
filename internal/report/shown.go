package report

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sethvargo/go-githubactions"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// shown is text that an [Output] writes as it is: cleaned text of others, with escape sequences and workflow commands of
// this package. Only the functions of this file convert a text to it. What is no constant has been cleaned by then.
type shown string

// clean makes one line of foreign text that can be shown.
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

// cursorUp moves the cursor up by n lines.
func cursorUp(n int) shown { return shown(fmt.Sprintf("\x1b[%dA", n)) }

func (s style) spinner(frame int64) shown {
	frames := []shown{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}
	if s.ascii {
		frames = []shown{"|", "/", "-", `\`}
	}
	return s.paint(cyan, frames[frame%int64(len(frames))]) + " "
}

// truncate cuts cleaned text without escape sequences to a width in columns. What may be two columns wide, or as wide as
// a tab, is replaced rather than measured: terminals differ, and a line that wraps cannot be erased again.
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

// command returns a workflow command as a line. Its values may have several lines: the runner's encoding makes one of
// them, in which nothing else is left that a terminal would act upon.
func command(issue func(*githubactions.Action)) shown { return shown(printable.Line(encoded(issue))) }

// maskCommand returns the command that hides a secret, which is exactly as it was given.
func maskCommand(secret string) shown {
	return shown(encoded(func(c *githubactions.Action) { c.AddMask(secret) }))
}

// encoded returns a command as the library writes it. The library panics where it cannot write, so it writes to memory: a
// log that is gone must not fail a build.
func encoded(issue func(*githubactions.Action)) string {
	var line bytes.Buffer
	issue(githubactions.New(githubactions.WithWriter(&line)))
	return strings.TrimRight(line.String(), "\r\n")
}

// document is a value as JSON that can be shown.
func document(value any, indent string) (shown, error) {
	text, err := printable.JSON(value, indent)
	return shown(text), err
}

// joinLines returns lines that end with a newline each.
func joinLines(lines []shown) shown {
	return shown(join(lines, "\n") + "\n")
}
