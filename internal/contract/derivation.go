package contract

import (
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// features checks how Cargo is called. Builders pass that on in different ways, any of which is right.
func (e *evaluation) features(check string, name matrix.Package) {
	p, ok := e.packages[name]
	switch {
	case !ok:
		e.skip(check, "the flake has no such package")
	case slices.ContainsFunc(featureAttributes, func(a string) bool {
		value := p.Attributes[a]
		return strings.Contains(value, "--no-default-features") || strings.HasSuffix(a, "NoDefaultFeatures") && value == "1"
	}):
		e.pass(check)
	default:
		e.add(p.at(Result{
			Check: check, Status: Fail, Reason: "Cargo builds it with default features", Wanted: "--no-default-features",
			Fix: "buildNoDefaultFeatures = true;",
		}, featureAttributes...))
	}
}

// preCheck checks what runs before the tests, and that there are tests.
func (e *evaluation) preCheck(check string, name matrix.Package) {
	p, ok := e.packages[name]
	doCheck, stated := p.Attributes["doCheck"]
	switch found := p.Attributes["preCheck"]; {
	case !ok:
		e.skip(check, "the flake has no such package")
	case stated && doCheck == "":
		e.add(p.at(Result{Check: check, Status: Fail, Reason: "its tests do not run: doCheck is false"}, "doCheck"))
	case !strings.Contains(found, e.PreCheck.Contains):
		e.add(p.at(Result{
			Check: check, Status: Fail, Reason: "its tests do not run in a home directory of their own",
			Wanted: e.PreCheck.Contains, Found: found, Fix: "preCheck = " + nix.Quote(e.PreCheck.Contains) + ";",
		}, "preCheck"))
	default:
		e.pass(check)
	}
}

// sourceFilter checks which changes of the tree change the derivation.
func (e *evaluation) sourceFilter(check string, name matrix.Package) {
	var s *struct {
		Ignored, ChangedBy, Followed, Lacks []string
		Plain                               bool
	}
	if !e.read(check, "source/"+string(name), &s) {
		return
	}
	if s == nil {
		e.skip(check, "the flake has no such package")
		return
	}
	switch ignores := check + "/ignores"; {
	case len(s.ChangedBy) > 0:
		e.add(e.packages[name].at(Result{
			Check: ignores, Status: Fail, Reason: "a change of " + strings.Join(s.ChangedBy, ", ") + " rebuilds it",
			Fix: "leave it out of src, with lib.fileset.toSource",
		}, "src"))
	case len(s.Ignored) == 0:
		e.skip(ignores, "the tree has none of %s", strings.Join(e.SourceFilter.Ignores, ", "))
	default:
		e.pass(ignores)
	}
	switch follows := check + "/follows"; {
	case !s.Plain:
		e.skip(follows, "its source is made by a build, so that its files are not known before")
	case len(s.Lacks) > 0:
		e.add(e.packages[name].at(Result{
			Check: follows, Status: Fail, Reason: "a change of " + strings.Join(s.Lacks, ", ") + " does not rebuild it: it is not part of src",
		}, "src"))
	case len(s.Followed) == 0:
		e.skip(follows, "the tree has none of %s", strings.Join(e.SourceFilter.Follows, ", "))
	default:
		e.pass(follows)
	}
}
