package drvdiff

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	gonix "zombiezen.com/go/nix"
	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Derivation is what a .drv file says: one build, with all that goes into it.
// It does not say its name, which only the name of its file has.
type Derivation struct {
	Outputs []Output        // in order of names
	Inputs  []Input         // inputDrvs, in order of paths
	Sources []nix.StorePath // inputSrcs, in order
	System  string
	Builder string
	Args    []string
	Env     map[string]string
}

// Output is one output of a derivation.
type Output struct {
	Name string
	// Path is empty where it depends on what is built (content-addressed derivations).
	Path nix.StorePath
	// Algorithm is that of a fixed output, such as "sha256", with "r:" before it where the hash is of the NAR;
	// else empty.
	Algorithm string
	// Hash is that of a fixed output, in hexadecimal digits; else empty.
	Hash string
}

// Input is another derivation that is built first.
type Input struct {
	Path    nix.StorePath
	Outputs []string // those that are used, in order
}

// fixed returns the hash of a fixed output as fetchers take it, after the way in which it is taken.
func (o Output) fixed() string {
	if o.Hash == "" {
		return ""
	}
	algorithm, recursive := strings.CutPrefix(o.Algorithm, "r:")
	text := algorithm + ":" + o.Hash
	if h, err := gonix.ParseHash(text); err == nil {
		text = h.SRI()
	}
	if recursive {
		return "recursive " + text
	}
	return "flat " + text
}

func (d *Derivation) output(name string) (Output, bool) {
	i, ok := slices.BinarySearchFunc(d.Outputs, name, func(o Output, name string) int { return cmp.Compare(o.Name, name) })
	if !ok {
		return Output{}, false
	}
	return d.Outputs[i], true
}

// Name returns the name of the derivation at a path: "hello-2.12.1" of "/nix/store/…-hello-2.12.1.drv".
func Name(path nix.StorePath) string { return strings.TrimSuffix(path.Name(), ".drv") }

// outputName is the name of the store object that an output becomes.
func outputName(drv nix.StorePath, output string) string {
	if output == "out" {
		return Name(drv)
	}
	return Name(drv) + "-" + output
}

// placeholder stands for an output of drv whose path is not known yet, within derivations that use it
// (downstreamPlaceholder in Nix's src/libstore/derivations.cc).
func placeholder(drv nix.StorePath, output string) string {
	sum := sha256.Sum256([]byte("nix-upstream-output:" + drv.Digest() + ":" + outputName(drv, output)))
	return nixbase32.EncodeToString(sum[:])
}

// verify compares a derivation's path with its text. A derivation that was edited, or that a store has mixed up,
// would else be a witness against the wrong one. It also proves that no derivation is among its own inputs.
func (d *Derivation) verify(path nix.StorePath, text []byte) error {
	references := slices.Clone(d.Sources)
	for _, in := range d.Inputs {
		references = append(references, in.Path)
	}
	if want := nix.TextPath(path.Name(), sha256.Sum256(text), references); want != path {
		return fmt.Errorf("its text is not the one that its path was made of: that would be %s", want.Base())
	}
	return nil
}
