package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// The functions of this file make GitHub-flavoured Markdown of untrusted text, which stays text: no link, image, mention,
// HTML or end of a table's cell. See https://github.github.com/gfm.

// escaped are the characters with a meaning in Markdown, HTML or GitHub. Numeric entities have none.
const escaped = "\\`*_{}[]<>#!|~&@:$"

// words makes one line of Markdown of a text.
func words(text string) string {
	text = printable.Line(text)
	var b strings.Builder
	for i, r := range text {
		if strings.ContainsRune(escaped, r) && !(r == '_' && inWord(text, i)) {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return strings.ReplaceAll(b.String(), "www.", "www&#46;")
}

// inWord reports whether a character is between two letters or digits of ASCII, where an underscore has no meaning.
func inWord(text string, i int) bool {
	return i > 0 && i+1 < len(text) && isWordByte(text[i-1]) && isWordByte(text[i+1])
}

func isWordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// code is words set as code, in which GitHub also ignores mentions and issue numbers.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "<code>" + words(text) + "</code>"
}

// link is words with a link. Without a URL, or with one that could be more than a URL, there is no link.
func link(text, url string) string {
	unfit := func(r rune) bool {
		return strings.ContainsRune("<>()\"'`\\", r) || unicode.IsSpace(r) || !unicode.IsGraphic(r)
	}
	if !isWeb(url) || strings.ContainsFunc(url, unfit) {
		return words(text)
	}
	return "[" + words(text) + "](" + strings.ReplaceAll(url, "|", "%7C") + ")"
}

// fence is a block of lines that are not Markdown. It counts the backquotes in the cleaned lines: cleaning can join them.
func fence(lines []string) string {
	longest := 2
	texts := make([]string, len(lines))
	for i, line := range lines {
		texts[i] = printable.Line(printable.LastDrawn(line))
		run := 0
		for _, r := range texts[i] {
			if run++; r != '`' {
				run = 0
			}
			longest = max(longest, run)
		}
	}
	marks := strings.Repeat("`", longest+1)
	var b strings.Builder
	b.WriteString(marks + "text\n")
	for _, line := range texts {
		b.WriteString(line + "\n")
	}
	b.WriteString(marks + "\n")
	return b.String()
}

// table sets cells that are Markdown already. The heads are separated by "|"; a column whose head ends with ":" is
// aligned to the right. A column that is empty in every row is left out.
func table(heads string, rows [][]string) string {
	var head, align []string
	var used []int
	for i, name := range strings.Split(heads, "|") {
		if !slices.ContainsFunc(rows, func(row []string) bool { return row[i] != "" }) {
			continue
		}
		name, right := strings.CutSuffix(name, ":")
		used, head, align = append(used, i), append(head, name), append(align, "---")
		if right {
			align[len(align)-1] = "--:"
		}
	}
	if len(used) == 0 {
		return ""
	}
	lines := [][]string{head, align}
	for _, row := range rows {
		var cells []string
		for _, i := range used {
			cells = append(cells, row[i])
		}
		lines = append(lines, cells)
	}
	var b strings.Builder
	for _, cells := range lines {
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String()
}

// details is text that a reader opens with a click on its head.
func details(head, body string) string {
	return "<details><summary>" + head + "</summary>\n\n" + body + "\n</details>\n"
}
