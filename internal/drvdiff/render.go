package drvdiff

import (
	"fmt"
	"io"
	"strings"
)

// Report formats differences: the first one in full, some others in a line each, and the number of the rest.
type Report struct {
	Differences []Difference // as [Diff] returns them
	// A and B name the sides, such as "manifest" and "here". The default is "a" and "b".
	A, B string
	// Most is how many others are shown. 0 means 10, a negative number means none.
	Most int
}

// String returns what Render writes.
func (r Report) String() string {
	var text strings.Builder
	_ = r.Render(&text) // a builder returns no error
	return text.String()
}

// Render writes the report as plain text. Errors are those of w.
func (r Report) Render(w io.Writer) error {
	if r.A == "" {
		r.A = "a"
	}
	if r.B == "" {
		r.B = "b"
	}
	if r.Most == 0 {
		r.Most = 10
	}
	if len(r.Differences) == 0 {
		_, err := io.WriteString(w, "the derivations are the same\n")
		return err
	}
	first, others := r.Differences[0], r.Differences[1:]
	lines := r.first(first)
	shown := min(len(others), max(r.Most, 0))
	if shown > 0 {
		lines = append(lines, "also:")
	}
	for _, d := range others[:shown] {
		lines = append(lines, "  "+d.String())
	}
	if rest := others[shown:]; len(rest) > 0 {
		lines = append(lines, fmt.Sprintf("and %s of %s", count(len(rest), "other difference"), count(derivations(rest), "derivation")))
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// first formats a difference with all its details.
func (r Report) first(d Difference) []string {
	lines := []string{d.Where() + ": " + d.headline()}
	row := func(name, value string) {
		lines = append(lines, fmt.Sprintf("  %-*s %s", max(len(r.A), len(r.B), len("between"))+1, name+":", value))
	}
	if d.Kind == Missing {
		row(r.A, string(d.DrvA)+lacking(d.A))
		row(r.B, string(d.DrvB)+lacking(d.B))
		return lines
	}
	row(r.A, d.A)
	row(r.B, d.B)
	row("between", string(d.DrvA))
	row("and", string(d.DrvB))
	return lines
}

func lacking(value string) string {
	if value == notHere {
		return ": " + notHere
	}
	return ""
}

func derivations(all []Difference) int {
	seen := map[pair]bool{}
	for _, d := range all {
		seen[pair{d.DrvA, d.DrvB}] = true
	}
	return len(seen)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
