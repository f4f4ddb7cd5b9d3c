package contract

import (
	"fmt"
	"slices"
	"strings"

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

// features checks how Cargo is called. Builders pass that on in different ways, any of which is right.
func (e *evaluation) features(name matrix.Package) []Result {
	p, ok := e.packages[name]
	switch {
	case !ok:
		return skip("the flake has no such package")
	case slices.ContainsFunc(featureAttributes, func(a string) bool {
		value := p.Attributes[a]
		return strings.Contains(value, "--no-default-features") || strings.HasSuffix(a, "NoDefaultFeatures") && value == "1"
	}):
		return nil
	}
	return p.at(Result{
		Reason: "Cargo builds it with default features", Wanted: "--no-default-features", Fix: "buildNoDefaultFeatures = true;",
	}, featureAttributes...)
}

// preCheck checks what runs before the tests, and that there are tests.
func (e *evaluation) preCheck(name matrix.Package) []Result {
	p, ok := e.packages[name]
	doCheck, stated := p.Attributes["doCheck"]
	switch found := p.Attributes["preCheck"]; {
	case !ok:
		return skip("the flake has no such package")
	case stated && doCheck == "":
		return p.at(Result{Reason: "its tests do not run: doCheck is false"}, "doCheck")
	case !strings.Contains(found, e.PreCheck.Contains):
		return p.at(Result{
			Reason: "its tests do not run in a separate home directory", Wanted: e.PreCheck.Contains, Found: found,
			Fix: "preCheck = " + nix.Quote(e.PreCheck.Contains) + ";",
		}, "preCheck")
	}
	return nil
}

// sourceFilter checks which changes of the tree change the derivation.
func (e *evaluation) sourceFilter(name matrix.Package) []Result {
	s, broken := decode[*struct {
		Ignored, ChangedBy, Followed, Lacks []string
		Plain                               bool
	}](e, "source/"+string(name))
	switch {
	case broken != nil:
		return broken
	case s == nil:
		return skip("the flake has no such package")
	}
	ignores, follows := Result{Check: "/ignores", Status: Pass}, Result{Check: "/follows", Status: Pass}
	switch {
	case len(s.ChangedBy) > 0:
		ignores.Status, ignores.Reason = Fail, "a change of "+strings.Join(s.ChangedBy, ", ")+" rebuilds it"
		ignores.Fix = "leave it out of src, with lib.fileset.toSource"
	case len(s.Ignored) == 0:
		ignores.Status, ignores.Reason = Skip, "the tree has none of "+strings.Join(e.SourceFilter.Ignores, ", ")
	}
	switch {
	case !s.Plain:
		follows.Status, follows.Reason = Skip, "its source is made by a build, so that its files are not known before"
	case len(s.Lacks) > 0:
		follows.Status, follows.Reason = Fail, "a change of "+strings.Join(s.Lacks, ", ")+" does not rebuild it: it is not part of src"
	case len(s.Followed) == 0:
		follows.Status, follows.Reason = Skip, "the tree has none of "+strings.Join(e.SourceFilter.Follows, ", ")
	}
	return append(e.packages[name].at(ignores, "src"), e.packages[name].at(follows, "src")...)
}
