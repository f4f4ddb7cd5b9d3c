package compare

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// shownLine is [printable.Escaped] of a line, but keeps tabs.
func shownLine(line string) string {
	parts := strings.Split(line, "\t")
	for i, part := range parts {
		parts[i] = printable.Escaped(part)
	}
	return strings.Join(parts, "\t")
}

func differs(n int64) string {
	if n == 1 {
		return " differs"
	}
	return " differ"
}

// growth is one size, or two and their difference.
func growth(a, b int64) string {
	switch {
	case a < b:
		return fmt.Sprintf("%s in A, %s in B: +%s", size(a), size(b), size(b-a))
	case a > b:
		return fmt.Sprintf("%s in A, %s in B: -%s", size(a), size(b), size(a-b))
	}
	return size(a)
}

// size is exact for small numbers of bytes, and rounded for large ones.
func size(n int64) string {
	switch {
	case n < 10_000:
		return run.Count(int(n), "byte")
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
