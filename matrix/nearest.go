package matrix

import "fmt"

// Nearest returns the candidate that takes the fewest edits to become s,
// and false where none is near enough to be what was meant.
func Nearest[T ~string](s string, candidates []T) (T, bool) {
	best, fewest := T(""), len(s)/2+1
	for _, c := range candidates {
		if n := edits(s, string(c)); n < fewest {
			best, fewest = c, n
		}
	}
	return best, best != ""
}

func didYouMean[T ~string](s string, candidates []T) string {
	if c, ok := Nearest(s, candidates); ok {
		return fmt.Sprintf("; did you mean %s?", c)
	}
	return ""
}

// edits is the Levenshtein distance between a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
