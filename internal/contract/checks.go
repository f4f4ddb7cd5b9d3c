package contract

import (
	"fmt"
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

// add adds a check for each name. "*" in the name of the check, and in needs, becomes that name.
func add[T ~string](all *[]check, name, needs string, names []T, run func(T) []Result) {
	for _, n := range names {
		insert := func(s string) string { return strings.Replace(s, "*", string(n), 1) }
		*all = append(*all, check{insert(name), insert(needs), func() []Result { return run(n) }})
	}
}

// only returns a list of the name, where the condition holds.
func only[T ~string](condition bool, name T) []T {
	if condition {
		return []T{name}
	}
	return nil
}

// checks returns the checks of the flake's outputs and derivations, in order.
func (e *evaluation) checks() (all []check) {
	add(&all, "outputs/packages/*", "package/*", e.evaluatedPackages(), e.output)
	add(&all, "outputs/overlays/*", "overlay/*", only(e.Outputs.Overlay != "", e.Outputs.Overlay), e.overlay)
	add(&all, "outputs/homeManagerModules/*", "module/*", e.Outputs.Modules, func(name string) []Result {
		return e.exists("module/"+name, "homeManagerModules."+name)
	})
	add(&all, "outputs/devShells/*", "shell/*", e.Outputs.DevShells, func(name string) []Result {
		return e.exists("shell/"+name, fmt.Sprintf("devShells.%s.%s", e.request.System, name))
	})
	for _, name := range slices.Sorted(maps.Keys(e.Packages)) {
		add(&all, "package/*/no-default-features", "package/*", only(e.Packages[name].NoDefaultFeatures, name), e.features)
	}
	if e.PreCheck != nil {
		add(&all, "pre-check/*", "package/*", e.PreCheck.Packages, e.preCheck)
	}
	if e.SourceFilter != nil {
		add(&all, "source-filter/*", "source/*", e.SourceFilter.Packages, e.sourceFilter)
	}
	return all
}

// checks returns the checks of what was built, in order.
func (b *built) checks() (all []check) {
	for _, name := range slices.Sorted(maps.Keys(b.Packages)) {
		p, prefix, needs := &output{b, b.Packages[name], name}, "package/"+string(name), string(name)
		add(&all, prefix+"/binaries/*", needs, p.required.Binaries, p.program)
		add(&all, prefix+"/files/*", needs, p.required.Files, p.file)
		add(&all, "units/"+needs+"/*", needs, p.required.Units, p.unit)
		add(&all, prefix+"/closure", needs, only(len(p.required.NotInClosure) > 0, needs), p.closure)
		for _, w := range p.required.Wrapped {
			all = append(all, check{prefix + "/wrapped/" + w.Binary, needs, func() []Result { return p.wrapped(w) }})
		}
		add(&all, prefix+"/propagates/*", needs, p.required.Propagates, p.propagates)
		add(&all, prefix+"/on-path", needs, only(len(p.required.OnPath) > 0, needs), p.onPath)
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
	e := &evaluation{Contract: c}
	for _, check := range slices.Concat(e.checks(), e.homeChecks(), (&built{Contract: c}).checks()) {
		names = append(names, check.name)
	}
	return names
}

// Finish completes the results of a system, or of the flake as a whole. It adds a failure for each planned check without a
// result: a planned "units" has one where its name is "units" or begins with "units/"; a planned "home-manager/desktop"
// also where "home-manager" as a whole failed. Where the contract is strict, a warning becomes a failure.
func (c *Contract) Finish(results []Result, system matrix.System, planned []string) []Result {
	for _, check := range planned {
		reported := slices.ContainsFunc(results, func(r Result) bool {
			return r.Check == check || strings.HasPrefix(r.Check, check+"/") ||
				r.Status == Fail && strings.HasPrefix(check, r.Check+"/")
		})
		if !reported {
			results = append(results, Result{Check: check, Status: Fail, Reason: "planned, and did not run"})
		}
	}
	for i := range results {
		results[i].System = system
		if c.Strict && results[i].Status == Warn {
			results[i].Status = Fail
		}
	}
	return results
}
