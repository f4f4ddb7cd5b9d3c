package contract

import (
	"maps"
	"slices"
	"strings"
)

// features looks how Cargo is called. Builders differ in how they pass that on, so any of their ways will do.
func (e *evaluation) features() {
	for _, name := range slices.Sorted(maps.Keys(e.Packages)) {
		if !e.Packages[name].NoDefaultFeatures {
			continue
		}
		check := "package/" + string(name) + "/no-default-features"
		p, ok := e.packages[name]
		if !ok {
			e.skip(check, "the flake has no such package")
			continue
		}
		if slices.ContainsFunc(featureAttributes, func(a string) bool {
			value := p.Attributes[a]
			return strings.Contains(value, "--no-default-features") || strings.HasSuffix(a, "NoDefaultFeatures") && value == "1"
		}) {
			e.pass(check)
			continue
		}
		e.add(p.at(Result{
			Check: check, Status: Fail, Reason: "Cargo builds it with default features", Wanted: "--no-default-features",
			Fix: "buildNoDefaultFeatures = true;",
		}, featureAttributes...))
	}
}

// preCheck looks at what runs before the tests, which are isolated only where there are any.
func (e *evaluation) preCheck() {
	if e.PreCheck == nil {
		return
	}
	for _, name := range e.PreCheck.Packages {
		check := "pre-check/" + string(name)
		p, ok := e.packages[name]
		if !ok {
			e.skip(check, "the flake has no such package")
			continue
		}
		doCheck, told := p.Attributes["doCheck"]
		switch found := p.Attributes["preCheck"]; {
		case told && doCheck == "":
			e.add(p.at(Result{Check: check, Status: Fail, Reason: "its tests do not run: doCheck is false"}, "doCheck"))
		case !strings.Contains(found, e.PreCheck.Contains):
			e.add(p.at(Result{
				Check: check, Status: Fail, Reason: "its tests do not run in a home directory of their own",
				Wanted: e.PreCheck.Contains, Found: found, Fix: "preCheck = " + nixString(e.PreCheck.Contains) + ";",
			}, "preCheck"))
		default:
			e.pass(check)
		}
	}
}

// sourceFilter looks which changes of the tree change a derivation.
func (e *evaluation) sourceFilter() {
	if e.SourceFilter == nil {
		return
	}
	for _, name := range e.SourceFilter.Packages {
		check := "source-filter/" + string(name)
		var s *struct {
			Ignored, ChangedBy, Followed, Lacks []string
			Plain                               bool
		}
		if !e.read(check, "source/"+string(name), &s) {
			continue
		}
		if s == nil {
			e.skip(check, "the flake has no such package")
			continue
		}
		switch {
		case len(s.ChangedBy) > 0:
			e.add(e.packages[name].at(Result{
				Check: check + "/ignores", Status: Fail, Reason: "a change of " + strings.Join(s.ChangedBy, ", ") + " rebuilds it",
				Fix: "leave it out of src, with lib.fileset.toSource",
			}, "src"))
		case len(s.Ignored) == 0:
			e.skip(check+"/ignores", "the tree has none of %s", strings.Join(e.SourceFilter.Ignores, ", "))
		default:
			e.pass(check + "/ignores")
		}
		switch {
		case !s.Plain:
			e.skip(check+"/follows", "its source is not a plain one, but made by a build: what is in it is not known before")
		case len(s.Lacks) > 0:
			e.add(e.packages[name].at(Result{
				Check: check + "/follows", Status: Fail, Reason: "a change of " + strings.Join(s.Lacks, ", ") + " does not rebuild it: it is not part of src",
			}, "src"))
		case len(s.Followed) == 0:
			e.skip(check+"/follows", "the tree has none of %s", strings.Join(e.SourceFilter.Follows, ", "))
		default:
			e.pass(check + "/follows")
		}
	}
}
