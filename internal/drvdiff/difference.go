package drvdiff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Kind says what of a derivation differs.
type Kind string

const (
	System        Kind = "system"
	Outputs       Kind = "outputs"           // the set of them
	OutputHash    Kind = "fixed-output hash" // of the output Name
	Builder       Kind = "builder"
	Argument      Kind = "arg"            // number Name, from 1
	Source        Kind = "input source"   // Name: the same name, other contents
	SourceAdded   Kind = "source added"   // Name, only on side b
	SourceRemoved Kind = "source removed" // Name, only on side a
	InputAdded    Kind = "input added"    // the derivation Name, only on side b
	InputRemoved  Kind = "input removed"  // the derivation Name, only on side a
	InputOutputs  Kind = "input outputs"  // other outputs of the input Name are used
	Variable      Kind = "env"            // Name
	Attribute     Kind = "attribute"      // Name, of structured attributes, such as "env.PATH" or "flags[2]"

	// OutputPath means that all of the above are the same, but an output has another path.
	OutputPath Kind = "output path"
	// Missing is a derivation that one side or both do not have. The walk ends there.
	Missing Kind = "missing"
)

// notHere is the value of a derivation that its side does not have.
const notHere = "its derivation is not here"

// unset is shown for a value that one side does not have. Real values are in quotes.
const unset = "not set"

// Difference is one value in which two derivations differ.
type Difference struct {
	// Path has the names of derivations from the root to the one that differs.
	// If the two have different names, it has both: "openssl-3.0.1 | openssl-3.0.2".
	Path []string      `json:"path"`
	DrvA nix.StorePath `json:"drvA"`
	DrvB nix.StorePath `json:"drvB"`

	Kind Kind `json:"kind"`
	// Name is that of the variable, attribute, source, input or output, or the number of the argument; else empty.
	Name string `json:"name,omitempty"`
	// A and B are the two values, printable and bounded. Strings are quoted as in Go, and shortened around the first byte
	// that differs. "/nix/store/…-name" is a path whose digest differs for a reason that is reported elsewhere.
	A string `json:"a"`
	B string `json:"b"`
	// Line is the first line that differs, from 1, if a value has several lines. A and B are that line only.
	Line int `json:"line,omitempty"`
	// Uses are the places that use a source: "env src", "builder", "arg 2".
	Uses []string `json:"uses,omitempty"`
	// Again is the number of other derivations with the same difference of a source or input. They are not listed.
	Again int `json:"again,omitempty"`
	// SameOutputs is true if the output paths are the same: only the way to fetch a fixed output has changed. The paths of
	// derivations change, the outputs do not.
	SameOutputs bool `json:"sameOutputs,omitempty"`
}

// What names the value that differs: "env FLAGS", "arg 3", "system", "input source src".
func (d Difference) What() string {
	if d.Kind == Missing {
		return "not known"
	}
	if d.Kind == OutputHash && d.Name == "out" {
		return string(d.Kind)
	}
	return strings.TrimSpace(string(d.Kind) + " " + printable.Escaped(d.Name))
}

// How many names of a long path are shown, at its beginning and at its end.
const (
	shownFirst = 2
	shownLast  = 4
)

// Where is the path from the root: "root → … → cause". The middle of a long path is counted, not shown.
func (d Difference) Where() string {
	names := d.Path
	if left := len(names) - shownFirst - shownLast; left > 1 {
		names = slices.Concat(names[:shownFirst], []string{fmt.Sprintf("(%d more)", left)}, names[len(names)-shownLast:])
	}
	return strings.Join(names, " → ")
}

func (d Difference) String() string {
	switch d.Kind {
	case Missing:
		return d.headline() + ": " + notHere
	case Source: // the digests say nothing more
		return d.headline()
	}
	return d.headline() + ": " + d.A + " ≠ " + d.B
}

// headline says where and what differs, with notes.
func (d Difference) headline() string {
	text := d.What()
	switch {
	case d.Kind == Missing:
		text = "what differs is not known"
	case d.Kind == Source:
		text = "the source " + printable.Escaped(d.Name) + " has other contents"
	case d.Line > 0:
		text += fmt.Sprintf(", line %d", d.Line)
	}
	if len(d.Uses) > 0 {
		text += " (" + strings.Join(d.Uses, ", ") + ")"
	}
	if d.Again > 0 {
		text += ", as in " + run.Count(d.Again, "other derivation")
	}
	if d.SameOutputs {
		text += "; the outputs are the same"
	}
	return d.Where() + ": " + text
}

const maxListed = 10

// Report formats differences, as [Diff] returns them: the first one with all its details, some others in a line each, and
// the number of the rest. The sides have the names a and b.
func Report(differences []Difference, a, b string) string {
	if len(differences) == 0 {
		return "the derivations are the same\n"
	}
	first, others := differences[0], differences[1:]
	text := first.headline() + "\n"
	row := func(name, value string) {
		text += fmt.Sprintf("  %-*s %s\n", max(len(a), len(b), len("between"))+1, name+":", value)
	}
	row(a, first.A)
	row(b, first.B)
	row("between", string(first.DrvA))
	row("and", string(first.DrvB))
	shown := others[:min(len(others), maxListed)]
	if len(shown) > 0 {
		text += "also:\n"
	}
	for _, d := range shown {
		text += "  " + d.String() + "\n"
	}
	if rest := others[len(shown):]; len(rest) > 0 {
		derivations := map[pair]bool{}
		for _, d := range rest {
			derivations[pair{d.DrvA, d.DrvB}] = true
		}
		text += fmt.Sprintf("and %s of %s\n", run.Count(len(rest), "other difference"), run.Count(len(derivations), "derivation"))
	}
	return text
}
