package contract

import (
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// evaluatedPackage is what a package's derivation tells.
type evaluatedPackage struct {
	Derivation nix.StorePath
	Output     nix.StorePath
	Attributes map[string]string
	Places     map[string]*position
}

// position is where something is written, in the flake's tree.
type position struct {
	File string
	Line int
}

// at gives a result the place of the first of the attributes that the package's author has written.
func (p evaluatedPackage) at(r Result, attributes ...string) Result {
	for _, name := range append(slices.Clip(attributes), "pname") {
		if at := p.Places[name]; at != nil {
			r.File, r.Line = at.File, at.Line
			break
		}
	}
	return r
}

// outputs are the attributes that the flake promises to have.
func (e *evaluation) outputs() {
	for _, name := range e.evaluatedPackages() {
		check := "outputs/packages/" + string(name)
		var p *evaluatedPackage
		switch {
		case !e.read(check, "package/"+string(name), &p):
		case p == nil:
			e.fail(check, "the flake has no package packages.%s.%s", e.system, name)
		default:
			e.packages[name] = *p
			if name != "default" {
				e.pass(check)
			}
		}
	}
	if p, ok := e.packages["default"]; ok {
		e.compare("outputs/packages/default", fmt.Sprintf("packages.%s.default is another derivation than %s", e.system, e.Outputs.Default),
			string(e.packages[e.Outputs.Default].Derivation), string(p.Derivation))
	}
	e.overlay()
	for _, name := range e.Outputs.Modules {
		e.exists("outputs/homeManagerModules/"+name, "module/"+name, "homeManagerModules."+name)
	}
	for _, name := range e.Outputs.DevShells {
		e.exists("outputs/devShells/"+name, "shell/"+name, fmt.Sprintf("devShells.%s.%s", e.system, name))
	}
}

// has is for an output of which nothing more than its existence is promised.
func (e *evaluation) exists(check, name, output string) {
	var found any
	switch {
	case !e.read(check, name, &found):
	case found == nil:
		e.fail(check, "the flake has no %s", output)
	default:
		e.pass(check)
	}
}

func (e *evaluation) overlay() {
	name := e.Outputs.Overlay
	check := "outputs/overlays/" + name
	var found map[matrix.Package]nix.StorePath
	if name == "" || !e.read(check, "overlay/"+name, &found) {
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
