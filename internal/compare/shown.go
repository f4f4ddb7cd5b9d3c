package compare

import (
	"fmt"
	"strconv"
	"strings"
)

// shown escapes unprintable characters as Go does. A builder can write any names and contents; unescaped, they could move
// the cursor of a terminal or change the direction of text.
func shown(text string) string {
	quoted := strconv.Quote(text)
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(quoted[1 : len(quoted)-1])
}

// shownLine is like shown, but keeps tabs.
func shownLine(line string) string {
	parts := strings.Split(line, "\t")
	for i, part := range parts {
		parts[i] = shown(part)
	}
	return strings.Join(parts, "\t")
}

// cut shortens text to about n bytes, and adds an ellipsis.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
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
		return count(int(n), "byte")
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
