package compare

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

type Report struct {
	A string `json:"a"`
	B string `json:"b"`
	// Same is true if both sides have every output, with the same contents.
	Same bool `json:"same"`
	// Source has the fields of two manifests' sources and settings that differ.
	Source  []Field  `json:"source,omitempty"`
	Outputs []Output `json:"outputs"`
}

// Field is a field that differs: of two manifests, or of the headers of a member.
type Field struct {
	Name string `json:"name"` // in a manifest, as in docs/manifest.md
	A    string `json:"a"`
	B    string `json:"b"`
}

// Verdict is the result for one output.
type Verdict string

const (
	Same      Verdict = "same"
	Different Verdict = "different"
	OnlyA     Verdict = "only in A"
	OnlyB     Verdict = "only in B"
	// Unknown is the verdict where one side has no hash: the output was not built, or a cache had it and it was not fetched.
	Unknown Verdict = "unknown"
)

// Output is the comparison of one output. A comparison of two trees has one, without a system.
type Output struct {
	// Name is package and output, such as "hello" or "hello.dev"; for caches it is the name of the store path.
	Name   string        `json:"name"`
	System string        `json:"system,omitempty"`
	PathA  nix.StorePath `json:"pathA,omitempty"`
	PathB  nix.StorePath `json:"pathB,omitempty"`
	// NARHashA and NARHashB are in SRI form, where they are known.
	NARHashA string  `json:"narHashA,omitempty"`
	NARHashB string  `json:"narHashB,omitempty"`
	Verdict  Verdict `json:"verdict"`
	// Note qualifies the verdict, for instance that only hashes were compared.
	Note string `json:"note,omitempty"`
	// Files is the number of paths of both sides together. It is 0 where hashes were enough, and so are the other numbers.
	Files int `json:"files,omitempty"`
	// SizeA and SizeB are the sums of the sizes of all files.
	SizeA int64 `json:"sizeA,omitempty"`
	SizeB int64 `json:"sizeB,omitempty"`
	// Added, Removed and Changed count paths. A directory on one side counts as one path.
	Added   int `json:"added,omitempty"`
	Removed int `json:"removed,omitempty"`
	Changed int `json:"changed,omitempty"`
	// Differences are in the order of paths, at most 10,000 of them.
	Differences []Difference `json:"differences,omitempty"`
	Unlisted    int          `json:"unlisted,omitempty"`
}

// Kind is a way in which a path or a member differs.
type Kind string

// The kinds of difference. A path has one of the first four, or some of the others.
const (
	Added    Kind = "added"   // only in B
	Removed  Kind = "removed" // only in A
	Retyped  Kind = "type"    // for instance a file in A, a directory in B
	Relinked Kind = "target"  // of a symbolic link
	Mode     Kind = "mode"    // executable on one side only
	Contents Kind = "contents"
	Header   Kind = "header" // of a member of an archive
)

// Entry is a file, a directory or a symbolic link. If only one side has a directory, Size is that of all files below it.
type Entry struct {
	nar.Entry
	// Below is the number of paths below a directory that only one side has.
	Below int `json:"below,omitempty"`
}

// Difference is a path, or a member of a file, that is not the same on both sides.
type Difference struct {
	// Path is relative to the output, and empty for the output itself. It can have any bytes but NUL.
	// Of a member, it says where that is: "gzip contents, tar member doc/a".
	Path  string `json:"path"`
	Kinds []Kind `json:"kinds"`
	A     *Entry `json:"entryA,omitempty"` // nil if it was added
	B     *Entry `json:"entryB,omitempty"` // nil if it was removed
	// Change is how the contents differ; nil if they do not, or if one side is not a file.
	Change *Change `json:"change,omitempty"`
	Fields []Field `json:"fields,omitempty"`
	// Causes are in the order of the constants. Two builds of different derivations have none.
	Causes []Cause `json:"causes,omitempty"`
}

// Change is how the contents of a file or a member differ.
type Change struct {
	// Offset is that of the first byte that differs.
	Offset int64 `json:"offset"`
	// Differing is the number of bytes that differ, of those that both sides have at the same offset.
	Differing int64 `json:"differing"`
	// Note says why the file was not entered, or that its members are all the same.
	Note string `json:"note,omitempty"`
	// Region is around the first difference; nil where there are members or a diff.
	Region *Region `json:"region,omitempty"`
	// Diff is a unified diff of two small texts. DiffCut is true if it was shortened.
	Diff    string `json:"diff,omitempty"`
	DiffCut bool   `json:"diffCut,omitempty"`
	// Members are the members of an archive, a compressed file or an ELF file that differ, and the members of these.
	Members         []Difference `json:"members,omitempty"`
	UnlistedMembers int          `json:"unlistedMembers,omitempty"`
	// Evidence is what the causes follow from.
	Evidence []Evidence `json:"evidence,omitempty"`
}

type Region struct {
	// Start is the offset of A and B in their files.
	Start int64 `json:"start"`
	A     Hex   `json:"a"`
	B     Hex   `json:"b"`
}

// Hex is bytes that are hexadecimal digits in JSON.
type Hex []byte

func (h Hex) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(h)), nil }

// Evidence is what a cause follows from: two texts, or two values of a field.
type Evidence struct {
	Cause Cause  `json:"cause"`
	A     string `json:"a"`
	B     string `json:"b"`
	Place string `json:"place,omitempty"` // the member; empty for the file itself
}

// DifferenceError says that two sides differ. It is a result, not a failure.
type DifferenceError struct {
	A, B string
	// Differing is how many of the outputs differ.
	Differing, Outputs int
	// Sources names the fields in which the sources differ. Different sources can give different outputs.
	Sources []string
}

func (e *DifferenceError) Error() string {
	text := fmt.Sprintf("compare %s with %s: %s of %d", printable.Escaped(e.A), printable.Escaped(e.B), run.Count(e.Differing, "output"), e.Outputs) + differs(int64(e.Differing))
	if len(e.Sources) > 0 {
		text += ", but so do the sources: " + strings.Join(e.Sources, ", ")
	}
	return text
}

// Outcome is that of two sides that are not the same.
func (*DifferenceError) Outcome() run.Outcome { return run.OutcomeDifferent }

// Err returns nil if both sides are the same, and a [DifferenceError] if they differ.
// If some outputs are unknown and the others are the same, it returns another error.
func (r *Report) Err() error {
	if r.Same {
		return nil
	}
	e := &DifferenceError{A: r.A, B: r.B, Outputs: len(r.Outputs)}
	unknown := 0
	for _, o := range r.Outputs {
		switch o.Verdict {
		case Same:
		case Unknown:
			unknown++
		default:
			e.Differing++
		}
	}
	if e.Differing == 0 {
		err := fmt.Errorf("compare %s with %s: %d of %d outputs are unknown", printable.Escaped(r.A), printable.Escaped(r.B), unknown, e.Outputs)
		return hint.Wrap(err, "run the command with --out, which fetches outputs from caches, and compare again")
	}
	for _, f := range r.Source {
		if f.isOfTree() {
			e.Sources = append(e.Sources, f.Name)
		}
	}
	return e
}
