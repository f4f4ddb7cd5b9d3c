package drvdiff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Kind says what of a derivation differs.
type Kind string

// The kinds, in the order in which they are told of one derivation.
const (
	System        Kind = "system"
	Outputs       Kind = "outputs"           // the set of them
	OutputHash    Kind = "fixed-output hash" // of the output Name
	Builder       Kind = "builder"
	Argument      Kind = "arg"            // number Name, from 1
	Source        Kind = "input source"   // Name: the same name, other contents
	SourceAdded   Kind = "source added"   // Name, on side b alone
	SourceRemoved Kind = "source removed" // Name, on side a alone
	InputAdded    Kind = "input added"    // the derivation Name, on side b alone
	InputRemoved  Kind = "input removed"  // the derivation Name, on side a alone
	InputOutputs  Kind = "input outputs"  // other outputs of the input Name are used
	Variable      Kind = "env"            // Name
	Attribute     Kind = "attribute"      // Name, of structured attributes, such as "env.PATH" or "flags[2]"

	// OutputPath is where all of the above are the same, and Nix has still given an output another path.
	OutputPath Kind = "output path"
	// Missing is a derivation that one side or both do not have, so that the walk ends there.
	Missing Kind = "missing"
)

// notHere is what stands for a derivation that its side does not have.
const notHere = "its derivation is not here"

// unset stands for a value that one side does not have at all. A value is in quotes, so it is none.
const unset = "not set"

// Difference is one thing in which two derivations differ that should be the same.
type Difference struct {
	// Path leads down the tree by the names of derivations: the root first, the one that differs last.
	// Where the two have different names, both are told: "openssl-3.0.1 | openssl-3.0.2".
	Path []string `json:"path"`
	// DrvA and DrvB are the two derivations.
	DrvA nix.StorePath `json:"drvA"`
	DrvB nix.StorePath `json:"drvB"`

	Kind Kind `json:"kind"`
	// Name is that of the variable, attribute, source, input or output, or the number of the argument; else empty.
	Name string `json:"name,omitempty"`
	// A and B are the two values, printable and bounded: strings in Go's quotes, cut around the first byte that
	// differs, with "…" where they are cut; store paths as they are. "/nix/store/…-name" is a path whose digest differs
	// for another reason, which is told elsewhere.
	A string `json:"a"`
	B string `json:"b"`
	// Line is the first line that differs of a value of several lines, from 1; A and B are of it alone. Else 0.
	Line int `json:"line,omitempty"`
	// Uses are where a source is used: "env src", "builder", "arg 2".
	Uses []string `json:"uses,omitempty"`
	// Again is in how many other derivations the same source or input differs in the same way. They are not told.
	Again int `json:"again,omitempty"`
	// SameOutputs says that the outputs' paths are the same in spite of the difference: of a fixed output, only how it
	// is fetched has changed. Paths of derivations change by it, what is built does not.
	SameOutputs bool `json:"sameOutputs,omitempty"`
}

// What names what differs: "env FLAGS", "arg 3", "system", "input source src".
func (d Difference) What() string {
	switch d.Kind {
	case Missing:
		return "not known"
	case OutputHash:
		if d.Name == "out" {
			return string(d.Kind)
		}
	}
	return strings.TrimSpace(string(d.Kind) + " " + printable(d.Name))
}

// How many names of a long path are told, at its beginning and at its end.
const (
	shownFirst = 2
	shownLast  = 4
)

// Where is the path down the tree: "root → … → cause". Of a long one, the middle is only counted.
func (d Difference) Where() string {
	names := d.Path
	if left := len(names) - shownFirst - shownLast; left > 1 {
		names = slices.Concat(names[:shownFirst], []string{fmt.Sprintf("(%d more)", left)}, names[len(names)-shownLast:])
	}
	return strings.Join(names, " → ")
}

// String returns the difference in one line.
func (d Difference) String() string {
	text := d.Where() + ": " + d.headline()
	switch d.Kind {
	case Missing:
		return text + ": " + notHere
	case Source: // that the digests differ says nothing more
		return text
	}
	return text + ": " + d.A + " ≠ " + d.B
}

// headline says what differs, and what that means.
func (d Difference) headline() string {
	text := d.What()
	switch {
	case d.Kind == Missing:
		text = "what differs is not known"
	case d.Kind == Source:
		text = "the source " + printable(d.Name) + " has other contents"
	case d.Line > 0:
		text += fmt.Sprintf(", line %d", d.Line)
	}
	if len(d.Uses) > 0 {
		text += " (" + strings.Join(d.Uses, ", ") + ")"
	}
	if d.Again > 0 {
		text += ", as in " + count(d.Again, "other derivation")
	}
	if d.SameOutputs {
		text += "; the outputs are the same"
	}
	return text
}
