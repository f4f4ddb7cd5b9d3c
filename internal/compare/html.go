package compare

import (
	_ "embed" // for the page
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

//go:embed page.gohtml
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"shown": shown,
	"cut":   cut,
	"lines": diffLines,
	"bytes": rowBytes,
	"seq":   func(n int) string { return fmt.Sprintf("o%d", n) },
}).Parse(pageText))

// WriteHTML writes a report as one page that needs nothing else. All that a builder could have written is escaped, and
// what would change the direction of the page's text or hide some of it is left out.
func (r *Report) WriteHTML(w io.Writer) error {
	var text strings.Builder
	if err := page.Execute(&text, r); err != nil {
		return err
	}
	_, err := io.WriteString(w, printable.Text(text.String()))
	return err
}

// diffLine is a line of a unified diff, with what it is.
type diffLine struct{ Class, Text string }

func diffLines(diff string) []diffLine {
	var lines []diffLine
	for line := range strings.Lines(diff) {
		class := "context"
		switch line[0] {
		case '-':
			class = "minus"
		case '+':
			class = "plus"
		case '@':
			class = "hunk"
		}
		lines = append(lines, diffLine{class, shownLine(strings.TrimSuffix(line, "\n"))})
	}
	return lines
}

// rowByte is a byte of a row, and whether the other side has another one, or none.
type rowByte struct {
	Hex, Text string
	Differs   bool
}

func rowBytes(p, other []byte) []rowByte {
	all := make([]rowByte, hexRow)
	for i := range all {
		switch {
		case i >= len(p):
			all[i] = rowByte{"  ", " ", false}
			continue
		case isPrintable(p[i]) && p[i] != '\t':
			all[i].Text = string(rune(p[i]))
		default:
			all[i].Text = "·"
		}
		all[i].Hex = fmt.Sprintf("%02x", p[i])
		all[i].Differs = i >= len(other) || p[i] != other[i]
	}
	return all
}
