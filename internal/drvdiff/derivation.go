package drvdiff

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	gonix "zombiezen.com/go/nix"
	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// derivation is the contents of a .drv file: one build with all its inputs. Only the file name has its name.
type derivation struct {
	Outputs []output        // in order of names
	Inputs  []input         // inputDrvs, in order of paths
	Sources []nix.StorePath // inputSrcs, in order
	System  string
	Builder string
	Args    []string
	Env     map[string]string
}

type output struct {
	Name string
	// Path is empty where it depends on what is built (content-addressed derivations).
	Path nix.StorePath
	// Algorithm is the hash algorithm of a fixed output, such as "sha256"; the prefix "r:" means the hash of the NAR.
	Algorithm string
	// Hash is the hash of a fixed output, in hexadecimal digits.
	Hash string
}

// input is a derivation that is built before.
type input struct {
	Path    nix.StorePath
	Outputs []string // the outputs that are used, in order
}

// fixed returns the hash of a fixed output in SRI form, with its mode. A content-addressed output has no hash.
func (o output) fixed() string {
	if o.Hash == "" {
		return o.Algorithm
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

func (d *derivation) output(name string) (output, bool) {
	return find(d.Outputs, func(o output) bool { return o.Name == name })
}

func (d *derivation) input(path nix.StorePath) (input, bool) {
	return find(d.Inputs, func(in input) bool { return in.Path == path })
}

func find[T any](all []T, is func(T) bool) (found T, ok bool) {
	i := slices.IndexFunc(all, is)
	if i < 0 {
		return found, false
	}
	return all[i], true
}

func (d *derivation) outputNames() (names []string) {
	for _, o := range d.Outputs {
		names = append(names, o.Name)
	}
	return names
}

func outputName(drv nix.StorePath, output string) string {
	if output == "out" {
		return nix.DerivationName(drv)
	}
	return nix.DerivationName(drv) + "-" + output
}

// placeholder is how derivations name an output of drv whose path is not known before the build
// (downstreamPlaceholder in Nix's src/libstore/derivations.cc).
func placeholder(drv nix.StorePath, output string) string {
	sum := sha256.Sum256([]byte("nix-upstream-output:" + drv.Digest() + ":" + outputName(drv, output)))
	return nixbase32.EncodeToString(sum[:])
}

// verify recomputes the path of a derivation from its text: the text could have been edited. Because paths are hashes, it
// also proves that no derivation is one of its own inputs.
func (d *derivation) verify(path nix.StorePath, text []byte) error {
	references := slices.Clone(d.Sources)
	for _, in := range d.Inputs {
		references = append(references, in.Path)
	}
	if want := nix.TextPath(path.Name(), sha256.Sum256(text), references); want != path {
		return fmt.Errorf("its text does not match its path; the path of the text is %s", want.Base())
	}
	return nil
}
