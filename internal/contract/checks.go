package contract

import (
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// check is one requirement of a contract.
type check struct {
	// name is that of its results, or what they begin with, before a slash.
	name string
	// needs is the question of the evaluation, or the package whose output the check reads; empty where it needs neither.
	needs string
	// run returns what is wrong, or cannot be checked.
	run func() []Result
}

// checks returns the checks of the flake's outputs and derivations, in order.
func (e *evaluation) checks() (all []check) {
	add := func(name, question string, run func() []Result) { all = append(all, check{name, question, run}) }
	exists := func(name, question, output string) {
		add(name, question, func() []Result { return e.exists(question, output) })
	}
	for _, p := range e.evaluatedPackages() {
		add("outputs/packages/"+string(p), "package/"+string(p), func() []Result { return e.output(p) })
	}
	if name := e.Outputs.Overlay; name != "" {
		add("outputs/overlays/"+name, "overlay/"+name, e.overlay)
	}
	for _, m := range e.Outputs.Modules {
		exists("outputs/homeManagerModules/"+m, "module/"+m, "homeManagerModules."+m)
	}
	for _, s := range e.Outputs.DevShells {
		exists("outputs/devShells/"+s, "shell/"+s, "devShells."+string(e.request.System)+"."+s)
	}
	for _, p := range slices.Sorted(maps.Keys(e.Packages)) {
		if e.Packages[p].NoDefaultFeatures {
			add("package/"+string(p)+"/no-default-features", "package/"+string(p), func() []Result { return e.features(p) })
		}
	}
	if e.PreCheck != nil {
		for _, p := range e.PreCheck.Packages {
			add("pre-check/"+string(p), "package/"+string(p), func() []Result { return e.preCheck(p) })
		}
	}
	if e.SourceFilter != nil {
		for _, p := range e.SourceFilter.Packages {
			add("source-filter/"+string(p), "source/"+string(p), func() []Result { return e.sourceFilter(p) })
		}
	}
	return all
}

// checks returns the checks of what was built, in order.
func (b *built) checks() (all []check) {
	for _, name := range slices.Sorted(maps.Keys(b.Packages)) {
		p, prefix := b.Packages[name], "package/"+string(name)
		add := func(checkName string, run func() []Result) { all = append(all, check{checkName, string(name), run}) }
		for _, program := range p.Binaries {
			add(prefix+"/binaries/"+program, func() []Result { return b.program(name, program) })
		}
		for _, file := range p.Files {
			add(prefix+"/files/"+file, func() []Result { return b.file(name, file) })
		}
		for _, unit := range p.Units {
			add("units/"+string(name)+"/"+unit, func() []Result { return b.unit(name, unit) })
		}
		if len(p.NotInClosure) > 0 {
			add(prefix+"/closure", func() []Result { return b.closure(name, p.NotInClosure) })
		}
		for _, w := range p.Wrapped {
			add(prefix+"/wrapped/"+w.Binary, func() []Result { return b.wrapped(name, w) })
		}
		for _, other := range p.Propagates {
			add(prefix+"/propagates/"+string(other), func() []Result { return b.propagates(name, other) })
		}
		if len(p.OnPath) > 0 {
			add(prefix+"/on-path", func() []Result { return b.onPath(name, p.OnPath) })
		}
	}
	if b.Units != nil && b.Units.Verify {
		all = append(all, check{name: "units/verify", run: b.verify})
	}
	if b.PreCheck != nil {
		all = append(all, check{name: "pre-check/outside", run: b.testsOutside})
	}
	return all
}

// Planned returns the names of the checks of one system.
func (c *Contract) Planned() (names []string) {
	add := func(checks []check) {
		for _, check := range checks {
			names = append(names, check.name)
		}
	}
	add((&evaluation{Contract: c}).checks())
	add(c.HomeManager.checks())
	add((&built{Contract: c}).checks())
	return names
}

// Finish completes the results of a system, or of the flake as a whole: it adds what [Complete] adds, and where the
// contract is strict, a warning becomes a failure.
func (c *Contract) Finish(results []Result, system matrix.System, planned []string) []Result {
	results = Complete(results, planned)
	for i := range results {
		results[i].System = system
		if c.Strict && results[i].Status == Warn {
			results[i].Status = Fail
		}
	}
	return results
}

// Complete adds a failure for each planned check without a result. A planned "units" has a result where its name is
// "units" or begins with "units/"; a planned "home-manager/desktop" also where "home-manager" as a whole failed.
func Complete(results []Result, planned []string) []Result {
	for _, check := range planned {
		reported := slices.ContainsFunc(results, func(r Result) bool {
			return r.Check == check || strings.HasPrefix(r.Check, check+"/") ||
				r.Status == Fail && strings.HasPrefix(check, r.Check+"/")
		})
		if !reported {
			results = append(results, Result{Check: check, Status: Fail, Reason: "planned, and did not run"})
		}
	}
	return results
}
