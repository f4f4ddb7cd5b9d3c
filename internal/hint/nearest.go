package hint

import (
	"cmp"
	"slices"
)

// Nearest returns up to n names with the smallest edit distance to name, the nearest first.
// It ignores names that differ in more than half of their letters.
func Nearest[T ~string](name string, names []T, n int) []T {
	near := slices.DeleteFunc(slices.Clone(names), func(other T) bool {
		return edits(name, string(other)) > max(len(name), len(other))/2
	})
	slices.SortStableFunc(near, func(a, b T) int { return cmp.Compare(edits(name, string(a)), edits(name, string(b))) })
	return near[:min(n, len(near))]
}

// edits returns the Levenshtein distance of two strings in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
