package compare

import (
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Report is what a comparison has found.
type Report struct {
	// A and B name the two sides, as they were given.
	A string `json:"a"`
	B string `json:"b"`
	// Same says that every output is there on both sides, with the same contents.
	Same bool `json:"same"`
	// Source is in what two manifests' sources and settings differ; empty for anything else.
	Source  []Field  `json:"source,omitempty"`
	Outputs []Output `json:"outputs"`
}

// Field is a field of two manifests that differs.
type Field struct {
	Name string `json:"name"` // as in docs/manifest.md
	A    string `json:"a"`
	B    string `json:"b"`
}

// Verdict is what a comparison of one output has come to.
type Verdict string

// The verdicts.
const (
	Same      Verdict = "same"
	Different Verdict = "different"
	OnlyA     Verdict = "only in A"
	OnlyB     Verdict = "only in B"
	// Unknown is an output of which a side has neither contents nor hash: it was not built, or served and never fetched.
	Unknown Verdict = "unknown"
)

// Output is what was found of one output. Of two trees there is one, without a system.
type Output struct {
	// Name is package and output, such as "hello" or "hello.dev"; of caches the store path's name.
	Name   string `json:"name"`
	System string `json:"system,omitempty"`
	// PathA and PathB are the store paths; two that differ are of two derivations.
	PathA nix.StorePath `json:"pathA,omitempty"`
	PathB nix.StorePath `json:"pathB,omitempty"`
	// NARHashA and NARHashB are in SRI form, where they are known.
	NARHashA string  `json:"narHashA,omitempty"`
	NARHashB string  `json:"narHashB,omitempty"`
	Verdict  Verdict `json:"verdict"`
	// Note is what a reader has to know of the verdict, such as that hashes alone were compared.
	Note string `json:"note,omitempty"`
	// Files is how many names there are on both sides together, each path counted once. 0 where hashes were enough.
	Files int `json:"files,omitempty"`
	// Differences are in the order of paths, at most [Options.MaxDifferences] of them.
	Differences []Difference `json:"differences,omitempty"`
	// Unlisted is how many more there are.
	Unlisted int `json:"unlisted,omitempty"`
}

// Kind is a way in which a path differs.
type Kind string

// The kinds of difference. A path has one of the first four, or any of the others.
const (
	Added    Kind = "added"   // only in B
	Removed  Kind = "removed" // only in A
	Retyped  Kind = "type"    // a file here, a directory or a link there
	Relinked Kind = "target"  // of a symbolic link
	Mode     Kind = "mode"    // executable on one side alone
	Contents Kind = "contents"
)

// Difference is a path that is not the same on both sides.
type Difference struct {
	// Path is relative to the output, and empty for the output itself. It may have any bytes but NUL in it.
	Path  string `json:"path"`
	Kinds []Kind `json:"kinds"`
	A     *Entry `json:"entryA,omitempty"` // nil where it was added
	B     *Entry `json:"entryB,omitempty"` // nil where it was removed
	// Change says how the contents differ; nil where they do not, or are not both a file's.
	Change *Change `json:"change,omitempty"`
	// Causes are what the bytes look like, the likeliest first; empty where they look like nothing known.
	Causes []Cause `json:"causes,omitempty"`
}

// Change is how the contents of a file differ.
type Change struct {
	// Offset is that of the first byte that differs, in bytes.
	Offset int64 `json:"offset"`
	// Differing is how many bytes differ of those that both files have at the same offset.
	Differing int64 `json:"differing"`
	// Place is what holds the first differing byte of A: an ELF section, a member of an archive. PlaceB is that of B,
	// where it is another. Both are empty where the format is not known.
	Place  string `json:"place,omitempty"`
	PlaceB string `json:"placeB,omitempty"`
	// Regions are the first parts of the file that differ; empty where the files are small and text.
	Regions []Region `json:"regions,omitempty"`
	// Diff is a unified diff, where both files are text and not large. DiffCut says that it was cut off.
	Diff    string `json:"diff,omitempty"`
	DiffCut bool   `json:"diffCut,omitempty"`
	// Unpacked says that Diff is of what the compressed files hold.
	Unpacked bool `json:"unpacked,omitempty"`
	// Evidence is what speaks for each of the causes.
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Region is a part of a file around bytes that differ.
type Region struct {
	// Start is the offset of A and B in their files; the first byte that differs is at Offset.
	Start  int64  `json:"start"`
	Offset int64  `json:"offset"`
	Place  string `json:"place,omitempty"`
	A      Hex    `json:"a"`
	B      Hex    `json:"b"`
}

// Hex is bytes that are hexadecimal digits in JSON.
type Hex []byte

// MarshalText returns the digits.
func (h Hex) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(h)), nil }

// Evidence is what speaks for a cause: the two texts that differ, or what two numbers stand for.
type Evidence struct {
	Cause Cause  `json:"cause"`
	A     string `json:"a"`
	B     string `json:"b"`
	Place string `json:"place,omitempty"`
}

// DifferenceError says that two sides are not the same. It is a result, and no failure.
type DifferenceError struct {
	A, B string
	// Differing of Outputs outputs are not the same.
	Differing, Outputs int
	// Sources names the fields by which the sources differ: two sources need not give the same.
	Sources []string
}

func (e *DifferenceError) Error() string {
	what := fmt.Sprintf("compare %s with %s: ", shown(e.A), shown(e.B))
	found := fmt.Sprintf("%s of %d", count(e.Differing, "output"), e.Outputs) + differs(int64(e.Differing))
	if len(e.Sources) > 0 {
		return what + found + ", but so do the sources: " + enumerate(e.Sources)
	}
	return what + "not reproducible: " + found
}

// Err returns nil where both sides are the same, and a [DifferenceError] where they are not.
// Where nothing is known to differ, and of some outputs nothing is known, it is another error.
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
		err := fmt.Errorf("compare %s with %s: nothing is known of %d of %d outputs", shown(r.A), shown(r.B), unknown, e.Outputs)
		return hint.Wrap(err, "run the command with --out, which fetches what a cache serves, and compare again")
	}
	for _, f := range r.Source {
		if f.tellsSource() {
			e.Sources = append(e.Sources, f.Name)
		}
	}
	return e
}
