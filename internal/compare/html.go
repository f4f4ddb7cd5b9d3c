package compare

import (
	_ "embed" // for the page
	"html/template"
	"io"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

//go:embed page.gohtml
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// WriteHTML writes a report as a page without external resources: the text with colours, with more lines of each
// difference. All contents of builds are escaped.
func (r *Report) WriteHTML(w io.Writer) error {
	type line struct{ Class, Text string }
	var lines []line
	for text := range strings.Lines(r.text(pageLines)) {
		text = strings.TrimSuffix(text, "\n")
		class := "context"
		switch rest, isDetail := strings.CutPrefix(text, indent); {
		case !isDetail && text != "" && text[0] != ' ':
			class = "head"
		case !isDetail:
		case strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "A "):
			class = "minus"
		case strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "B "):
			class = "plus"
		}
		lines = append(lines, line{class, text})
	}
	var html strings.Builder
	err := page.Execute(&html, struct {
		Headline string
		Lines    []line
	}{r.Headline(), lines})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, printable.Text(html.String()))
	return err
}
