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

// at gives a result the position of the first of the attributes that is in the flake's own files.
func (p evaluatedPackage) at(r Result, attributes ...string) Result {
	for _, name := range append(slices.Clip(attributes), "pname") {
		if at := p.Positions[name]; at != nil {
			r.File, r.Line = at.File, at.Line
			break
		}
	}
	return r
}

// output reads what the evaluation tells of a package.
func (e *evaluation) output(check string, name matrix.Package) {
	var p *evaluatedPackage
	switch {
	case !e.read(check, "package/"+string(name), &p):
	case p == nil:
		e.fail(check, "the flake has no package packages.%s.%s", e.system, name)
	default:
		e.packages[name] = *p
		if name != "default" { // which defaultPackage reports
			e.pass(check)
		}
	}
}

func (e *evaluation) defaultPackage(check string) {
	if p, ok := e.packages["default"]; ok {
		e.compare(check, fmt.Sprintf("packages.%s.default is another derivation than %s", e.system, e.Outputs.Default),
			string(e.packages[e.Outputs.Default].Derivation), string(p.Derivation))
	}
}

// exists checks an output of which only its existence is required.
func (e *evaluation) exists(check, question, output string) {
	var found any
	switch {
	case !e.read(check, question, &found):
	case found == nil:
		e.fail(check, "the flake has no %s", output)
	default:
		e.pass(check)
	}
}

func (e *evaluation) overlay(check string) {
	name := e.Outputs.Overlay
	var found map[matrix.Package]nix.StorePath
	if !e.read(check, "overlay/"+name, &found) {
		return
	}
	if found == nil {
		e.fail(check, "the flake has no overlays.%s", name)
		return
	}
	e.group(check, func() {
		for _, p := range e.Outputs.OverlayPackages {
			switch wanted := e.packages[p].Derivation; {
			case found[p] == "":
				e.fail(check+"/"+string(p), "applied to the flake's nixpkgs, the overlay gives no package %s", p)
			case wanted != "" && found[p] != wanted:
				e.add(Result{
					Check: check + "/" + string(p), Status: Warn, Wanted: string(wanted), Found: string(found[p]),
					Reason: "applied to the flake's nixpkgs, the overlay gives another derivation than packages: no cache will serve it",
				})
			}
		}
	})
}
