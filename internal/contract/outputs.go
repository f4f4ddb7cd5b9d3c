package contract

import (
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// evaluatedPackage is what evaluate.nix returns of a package's derivation.
type evaluatedPackage struct {
	Derivation nix.StorePath
	Output     nix.StorePath
	Attributes map[string]string
	Positions  map[string]*Position // of attributes, in the flake's tree
}

// at gives a failure the position of the first of the attributes that is in the flake's own files.
func (p evaluatedPackage) at(r Result, attributes ...string) []Result {
	for _, name := range append(slices.Clip(attributes), "pname") {
		if at := p.Positions[name]; at != nil && (r.Status == Fail || r.Status == "") {
			r.File, r.Line = at.File, at.Line
			break
		}
	}
	return []Result{r}
}

// output checks that the flake has a package. The default one has the derivation of another.
func (e *evaluation) output(name matrix.Package) []Result {
	p, broken := decode[*evaluatedPackage](e, "package/"+string(name))
	switch {
	case broken != nil:
		return broken
	case p == nil:
		return fail("the flake has no package packages.%s.%s", e.request.System, name)
	case name == "default":
		return differs(fmt.Sprintf("packages.%s.default is another derivation than %s", e.request.System, e.Outputs.Default),
			string(e.packages[e.Outputs.Default].Derivation), string(p.Derivation))
	}
	return nil
}

// exists checks an output of which only its existence is required.
func (e *evaluation) exists(question, output string) []Result {
	found, broken := decode[any](e, question)
	if broken == nil && found == nil {
		return fail("the flake has no %s", output)
	}
	return broken
}

func (e *evaluation) overlay(name string) (broken []Result) {
	found, broken := decode[map[matrix.Package]nix.StorePath](e, "overlay/"+name)
	switch {
	case broken != nil:
		return broken
	case found == nil:
		return fail("the flake has no overlays.%s", name)
	}
	for _, p := range e.Outputs.OverlayPackages {
		r := Result{Check: "/" + string(p)}
		switch wanted := e.packages[p].Derivation; {
		case found[p] == "":
			r.Reason = fmt.Sprintf("applied to the flake's nixpkgs, the overlay gives no package %s", p)
		case wanted != "" && found[p] != wanted:
			r.Status, r.Wanted, r.Found = Warn, string(wanted), string(found[p])
			r.Reason = "applied to the flake's nixpkgs, the overlay gives another derivation than packages: no cache will serve it"
		default:
			continue
		}
		broken = append(broken, r)
	}
	return broken
}
