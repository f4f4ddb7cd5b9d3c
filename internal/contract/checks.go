package contract

import (
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// check is one requirement of a contract. A is what it looks at: an [evaluation], or what was [built].
type check[A any] struct {
	// name is that of its results, or what they begin with, before a slash.
	name string
	// question names its answer of the evaluation; empty for a check of what was built.
	question string
	// pkg is the package that has to be built for the check; empty where it needs none.
	pkg matrix.Package
	run func(a A, name string)
}

// evaluated returns the checks of an evaluation, in order. Those of the Home Manager module have no run of their own:
// the module is checked as a whole.
func (c *Contract) evaluated() (all []check[*evaluation]) {
	add := func(name, question string, run func(*evaluation, string)) {
		all = append(all, check[*evaluation]{name: name, question: question, run: run})
	}
	for _, p := range c.evaluatedPackages() {
		add("outputs/packages/"+string(p), "package/"+string(p), func(e *evaluation, check string) { e.output(check, p) })
	}
	if c.Outputs.Default != "" {
		add("outputs/packages/default", "package/default", (*evaluation).defaultPackage)
	}
	if name := c.Outputs.Overlay; name != "" {
		add("outputs/overlays/"+name, "overlay/"+name, (*evaluation).overlay)
	}
	for _, m := range c.Outputs.Modules {
		add("outputs/homeManagerModules/"+m, "module/"+m, func(e *evaluation, check string) {
			e.exists(check, "module/"+m, "homeManagerModules."+m)
		})
	}
	for _, s := range c.Outputs.DevShells {
		add("outputs/devShells/"+s, "shell/"+s, func(e *evaluation, check string) {
			e.exists(check, "shell/"+s, "devShells."+string(e.system)+"."+s)
		})
	}
	for _, p := range slices.Sorted(maps.Keys(c.Packages)) {
		if c.Packages[p].NoDefaultFeatures {
			add("package/"+string(p)+"/no-default-features", "package/"+string(p), func(e *evaluation, check string) { e.features(check, p) })
		}
	}
	if c.PreCheck != nil {
		for _, p := range c.PreCheck.Packages {
			add("pre-check/"+string(p), "package/"+string(p), func(e *evaluation, check string) { e.preCheck(check, p) })
		}
	}
	if c.SourceFilter != nil {
		for _, p := range c.SourceFilter.Packages {
			add("source-filter/"+string(p), "source/"+string(p), func(e *evaluation, check string) { e.sourceFilter(check, p) })
		}
	}
	if hm := c.HomeManager; hm != nil {
		for _, mode := range modes {
			if check := modeCheck(mode); hm.ConfigFile != "" || !strings.HasPrefix(check, "home-manager/config/") {
				add(check, "home/"+mode, nil)
			}
		}
		for _, level := range hm.LogLevels {
			add("home-manager/log-level/"+level, "level/"+level, nil)
		}
		if len(hm.LogLevels) > 0 {
			add("home-manager/log-level/refused", wrongLevel, nil)
		}
	}
	return all
}

// built returns the checks of what was built, in order.
func (c *Contract) built() (all []check[*built]) {
	for _, name := range slices.Sorted(maps.Keys(c.Packages)) {
		p, prefix := c.Packages[name], "package/"+string(name)
		add := func(checkName string, run func(*built, string)) {
			all = append(all, check[*built]{name: checkName, pkg: name, run: run})
		}
		for _, program := range p.Binaries {
			add(prefix+"/binaries/"+program, func(b *built, check string) { b.program(check, name, program) })
		}
		for _, file := range p.Files {
			add(prefix+"/files/"+file, func(b *built, check string) { b.file(check, name, file) })
		}
		for _, unit := range p.Units {
			add("units/"+string(name)+"/"+unit, func(b *built, check string) { b.unit(check, name, unit) })
		}
		if len(p.NotInClosure) > 0 {
			add(prefix+"/closure", func(b *built, check string) { b.closure(check, name, p.NotInClosure) })
		}
		for _, w := range p.Wrapped {
			add(prefix+"/wrapped/"+w.Binary, func(b *built, check string) { b.wrapped(check, name, w) })
		}
		for _, other := range p.Propagates {
			add(prefix+"/propagates/"+string(other), func(b *built, check string) { b.propagates(check, name, other) })
		}
		if len(p.OnPath) > 0 {
			add(prefix+"/on-path", func(b *built, check string) { b.onPath(check, name, p.OnPath) })
		}
	}
	if c.Units != nil && c.Units.Verify {
		all = append(all, check[*built]{name: "units/verify", run: (*built).verify})
	}
	if c.PreCheck != nil {
		all = append(all, check[*built]{name: "pre-check/outside", run: (*built).testsOutside})
	}
	return all
}

// Planned returns the names of the checks of one system.
func (c *Contract) Planned() (names []string) {
	for _, check := range c.evaluated() {
		names = append(names, check.name)
	}
	for _, check := range c.built() {
		names = append(names, check.name)
	}
	return names
}

// Finish completes the results of a system, or of the flake as a whole: it adds what [Complete] adds, and where the
// contract is strict, a warning becomes a failure.
func (c *Contract) Finish(results []Result, system matrix.System, planned []string) []Result {
	results = Complete(results, system, planned)
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
func Complete(results []Result, system matrix.System, planned []string) []Result {
	for _, check := range planned {
		reported := slices.ContainsFunc(results, func(r Result) bool {
			return r.Check == check || strings.HasPrefix(r.Check, check+"/") ||
				r.Status == Fail && strings.HasPrefix(check, r.Check+"/")
		})
		if !reported {
			results = append(results, Result{Check: check, System: system, Status: Fail, Reason: "planned, and did not run"})
		}
	}
	return results
}
