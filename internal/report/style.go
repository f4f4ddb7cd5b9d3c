package report

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// mark is the kind of a line, shown as a sign in front of it.
type mark int

const (
	plain mark = iota
	passed
	failed
	skipped // never looks like passed
	running
	note
	warning
	cancelled // by a signal
)

// style is how text looks on an output.
type style struct {
	color, ascii bool
}

// signs has the signs of the marks, on a terminal and on GitHub's pages.
var signs = map[mark]struct {
	color          color
	unicode, ascii shown
	emoji          string
}{
	passed:    {green, "✔", "+", "✅"},
	failed:    {red, "✘", "x", "❌"},
	cancelled: {red, "✘", "x", "⏹️"},
	skipped:   {yellow, "-", "-", "➖"},
	running:   {cyan, "·", ".", "➖"},
	note:      {cyan, "note:", "note:", "➖"},
	warning:   {yellow, "warning:", "warning:", "⚠️"},
}

// sign returns the sign in front of a line, and a space.
func (s style) sign(m mark) shown {
	sign, ok := signs[m]
	if !ok {
		return ""
	}
	if s.ascii {
		sign.unicode = sign.ascii
	}
	return s.paint(sign.color, sign.unicode) + " "
}

func (m mark) emoji() string { return signs[m].emoji }

// rowSign returns the sign in front of a row of a table, where a warning is no word.
func (s style) rowSign(m mark) shown {
	if m == warning {
		m = skipped
	}
	return s.sign(m)
}

func (s style) bar() shown {
	if s.ascii {
		return "| "
	}
	return "│ "
}

// duration formats a duration that has ended: "4.2s", "1m32s", "2h05m".
func duration(seconds float64) string {
	if seconds < 59.95 {
		return fmt.Sprintf("%.1fs", max(seconds, 0))
	}
	return elapsed(seconds + 0.5)
}

// optional is empty for a duration of zero, such as that of a skipped step.
func optional(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return duration(seconds)
}

// elapsed formats the duration of something that runs, in full seconds so that it does not flicker.
func elapsed(seconds float64) string {
	n := int64(max(seconds, 0))
	switch {
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 3600:
		return fmt.Sprintf("%dm%02ds", n/60, n%60)
	}
	return fmt.Sprintf("%dh%02dm", n/3600, n/60%60)
}

// share formats a progress in bytes: "118/402 MiB", or only n if the total is unknown.
func share(n, of int64) string {
	if of <= 0 {
		return printable.Size(n)
	}
	unit, size := printable.Scale(of)
	if of := float64(of) / size; of < 10 && size > 1 {
		return fmt.Sprintf("%.1f/%.1f %s", float64(n)/size, of, unit)
	}
	return fmt.Sprintf("%.0f/%.0f %s", float64(n)/size, float64(of)/size, unit)
}

func nameOf(drv nix.StorePath) string {
	name := nix.DerivationName(drv)
	if name == "" {
		return "unknown derivation"
	}
	return name
}

// headline formats a line in columns. The widths are those of the longest step and system, so that the lines of all
// systems are aligned.
func headline(what, system, time, text string) string {
	return strings.TrimRight(fmt.Sprintf("%-9s  %-13s  %6s  %s", what, system, time, text), " ")
}
