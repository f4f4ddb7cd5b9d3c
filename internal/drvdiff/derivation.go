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

// Derivation is the contents of a .drv file: one build with all its inputs. Only the file name has its name.
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
	// Algorithm is the hash algorithm of a fixed output, such as "sha256"; the prefix "r:" means the hash of the NAR.
	Algorithm string
	// Hash is the hash of a fixed output, in hexadecimal digits.
	Hash string
}

// Input is a derivation that is built before.
type Input struct {
	Path    nix.StorePath
	Outputs []string // the outputs that are used, in order
}

// fixed returns the hash of a fixed output in SRI form, with its mode.
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

// placeholder is how derivations name an output of drv whose path is not known before the build
// (downstreamPlaceholder in Nix's src/libstore/derivations.cc).
func placeholder(drv nix.StorePath, output string) string {
	sum := sha256.Sum256([]byte("nix-upstream-output:" + drv.Digest() + ":" + outputName(drv, output)))
	return nixbase32.EncodeToString(sum[:])
}

// verify recomputes the path of a derivation from its text: the text could have been edited. Because paths are hashes, it
// also proves that no derivation is one of its own inputs.
func (d *Derivation) verify(path nix.StorePath, text []byte) error {
	references := slices.Clone(d.Sources)
	for _, in := range d.Inputs {
		references = append(references, in.Path)
	}
	if want := nix.TextPath(path.Name(), sha256.Sum256(text), references); want != path {
		return fmt.Errorf("its text does not match its path; the path of the text is %s", want.Base())
	}
	return nil
}
