package run

import (
	"fmt"
	"strings"
	"time"
)

func Joined[T ~string](names []T) string {
	s := make([]string, len(names))
	for i, n := range names {
		s[i] = string(n)
	}
	return strings.Join(s, ", ")
}

// Seconds returns d in seconds, rounded to milliseconds.
func Seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}

// Count puts a number before a noun, which is regular: "1 path", "2 paths", "2 processes", "2 dependencies".
func Count(n int, noun string) string {
	if n != 1 {
		switch stem, isY := strings.CutSuffix(noun, "y"); {
		case isY && !strings.ContainsAny(stem[len(stem)-1:], "aeiou"):
			noun = stem + "ies"
		case strings.HasSuffix(noun, "s"):
			noun += "es"
		default:
			noun += "s"
		}
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Sizes describes a size before and after compression.
func Sizes(before, after int64) string {
	return fmt.Sprintf("%.1f MiB as %.1f MiB", float64(before)/(1<<20), float64(after)/(1<<20))
}
