package compare

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

const (
	maxText      = 512 << 10 // of a file that is shown as a diff
	maxDiffLines = 200
	maxDiffLine  = 500 // bytes
)

// textDiff returns a unified diff of two texts, shortened for a reader, without the lines that name files.
func textDiff(a, b []byte) (unified string, wasCut bool) {
	unified = string(diff.Diff("a", a, "b", b))
	if i := strings.Index(unified, "\n@@ "); i >= 0 {
		unified = unified[i+1:]
	}
	lines := strings.Split(strings.TrimSuffix(unified, "\n"), "\n")
	if len(lines) > maxDiffLines {
		lines, wasCut = lines[:maxDiffLines], true
	}
	for i, line := range lines {
		if len(line) > maxDiffLine {
			lines[i], wasCut = printable.Cut(line, maxDiffLine), true
		}
	}
	return strings.Join(lines, "\n"), wasCut
}

// isText reports whether contents can be shown as text: UTF-8 without NUL, and not large.
func isText(p []byte) bool {
	return len(p) <= maxText && utf8.Valid(p) && bytes.IndexByte(p, 0) < 0
}
