package contract

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// maxExported is the size up to which a store object is read that a wrapper may refer to. The keyboard rules have some MiB.
const maxExported = 32 << 20

// Build is what was built for a system.
type Build struct {
	System matrix.System
	// Outputs are the "out" outputs of the packages.
	Outputs map[matrix.Package]nix.StorePath
	// Closure is that of all outputs together. [nix.Closure] returns that of one output.
	Closure []nix.PathInfo
	// Files are those of the store objects that [Contract.Exported] returns, and of the environment.
	Files Files
	// Sandboxed says whether the packages were built in a sandbox; nil where nothing was built.
	Sandboxed *bool
	// Environment is the output of [Contract.Environment]; empty where it returned no expression.
	Environment nix.StorePath
}

// Exported returns the store objects whose files the checks read: the packages' own outputs and, where a program is
// wrapped, what its package refers to, since the wrapper refers to files there.
func (c *Contract) Exported(b Build) []nix.StorePath {
	var paths []nix.StorePath
	sizes := map[nix.StorePath]int64{}
	references := map[nix.StorePath][]nix.StorePath{}
	for _, info := range b.Closure {
		sizes[info.Path], references[info.Path] = info.NARSize, info.References
	}
	for name, out := range b.Outputs {
		paths = append(paths, out)
		if len(c.Packages[name].Wrapped) == 0 {
			continue
		}
		for _, ref := range references[out] {
			if sizes[ref] <= maxExported {
				paths = append(paths, ref)
			}
		}
	}
	return nix.SortedPaths(paths)
}

// Built checks the files of the outputs, and their closure.
func (c *Contract) Built(build Build) []Result {
	b := &built{Contract: c, build: build, files: build.Files}
	var all findings
	absent := map[string]bool{}
	for _, check := range b.checks() {
		if check.needs == "" || b.files[string(build.Outputs[matrix.Package(check.needs)])] != nil {
			all.check(check.name, check.run()...)
		} else if !absent[check.needs] {
			absent[check.needs] = true
			all.check("package/"+check.needs, fail("it was not built, so that its files cannot be checked")...)
		}
	}
	return all
}

// built is what was built for one system.
type built struct {
	*Contract
	build Build
	files Files
}

// output is the "out" output of one package.
type output struct {
	*built
	required Package
	name     matrix.Package
}

// path returns the path of the output.
func (o *output) path() nix.StorePath { return o.build.Outputs[o.name] }

// in returns the path of a file in the output.
func (o *output) in(elem ...string) string {
	return path.Join(append([]string{string(o.path())}, elem...)...)
}

// program checks an executable, and that the system can run it.
func (o *output) program(name string) []Result {
	at := o.in("bin", name)
	f, err := o.files.find(at)
	switch {
	case err != nil:
		return fail("there is no %s", at)
	case !f.Executable():
		return fail("%s is not executable", at)
	}
	for !f.IsELF() {
		// The program of a wrapper is beside it, under a hidden name, and may itself be a wrapper.
		name = "." + name + "-wrapped"
		inner, err := o.files.find(o.in("bin", name))
		switch {
		case err != nil && !bytes.Contains(f.Data, []byte(name)):
			return nil // a script that wraps nothing
		case err != nil:
			return fail("%s, which it wraps, does not exist", name)
		case !inner.Executable():
			return fail("%s, which it wraps, is not executable", name)
		}
		f = inner
	}
	return differs(at+" is for another processor", o.build.System.ELF().Machine.String(), f.machine().String())
}

// machine returns the processor that an ELF file is for.
func (f *File) machine() elf.Machine {
	header, _ := matrix.ELFOf(f.Data)
	return header.Machine
}

// file checks that the output has a file of that path, or of that name in any directory.
func (o *output) file(name string) []Result {
	for at := range o.files {
		inOutput := strings.HasPrefix(at, o.in()+"/")
		if inOutput && (at == o.in(name) || !strings.Contains(name, "/") && path.Base(at) == name) {
			return nil
		}
	}
	return fail("no file of the output has that name")
}

// closure checks that the closure has none of some libraries.
func (o *output) closure(string) []Result {
	var found []string
	for _, info := range nix.Closure(o.build.Closure, o.path()) {
		for _, library := range o.required.NotInClosure {
			// A contract may name libxkbcommon "libxkbcommon" or "xkbcommon".
			name, prefix := strings.TrimPrefix(info.Path.Name(), "lib"), strings.TrimPrefix(library, "lib")
			if name == prefix || strings.HasPrefix(name, prefix+"-") {
				found = append(found, string(info.Path))
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return []Result{{
		Reason: "it needs libraries of the desktop at run time",
		Wanted: "none of " + strings.Join(o.required.NotInClosure, ", "), Found: strings.Join(found, " "),
		Fix: fmt.Sprintf("nix why-depends %s %s", o.path(), found[0]),
	}}
}

// wrapped checks that a wrapper sets a variable to a directory of its closure.
func (o *output) wrapped(w Wrapped) []Result {
	f, err := o.files.find(o.in("bin", w.Binary))
	if err != nil {
		return fail("there is no program to be wrapped")
	}
	// A shell script has XKB_CONFIG_ROOT='/nix/store/…'. A compiled wrapper has its command line: --set 'XKB_CONFIG_ROOT' '/nix/store/…'.
	set := regexp.MustCompile(regexp.QuoteMeta(w.Variable) + `\W{1,8}?(/[^'"\s\x00]+)`).FindSubmatch(f.Data)
	if set == nil {
		return fail("%s is not set", w.Variable)
	}
	value := string(set[1])
	if !strings.HasSuffix(value, w.Suffix) {
		return differs(w.Variable+" leads elsewhere", "…"+w.Suffix, value)
	}
	object, _, err := nix.StoreDir.ParsePath(value)
	inClosure := slices.ContainsFunc(nix.Closure(o.build.Closure, o.path()), func(info nix.PathInfo) bool { return info.Path == object })
	if err != nil || !inClosure {
		return fail("%s is %s, which is not in the closure", w.Variable, value)
	}
	if o.files[string(object)] == nil {
		return skip("%s is too large to be examined", object)
	}
	if dir, err := o.files.find(value); err != nil || !dir.Mode.IsDir() {
		return fail("%s is %s, which is not a directory", w.Variable, value)
	}
	return nil
}

func (o *output) propagates(other matrix.Package) []Result {
	const file = "nix-support/propagated-build-inputs"
	found, wanted := "", string(o.build.Outputs[other])
	if f, err := o.files.find(o.in(file)); err == nil {
		found = string(f.Data)
	}
	if slices.Contains(strings.Fields(found), wanted) {
		return nil
	}
	return []Result{{
		Reason: file + " does not name it", Wanted: wanted, Found: strings.TrimSpace(found),
		Fix: fmt.Sprintf("propagatedBuildInputs = [ %s ];", other),
	}}
}

// testsOutside checks that the tests could write only into the build directory, which is so in a sandbox.
func (b *built) testsOutside() []Result {
	switch sandboxed := b.build.Sandboxed; {
	case sandboxed == nil:
		return skip("nothing was built in this run, so it is not known where the tests wrote")
	case !*sandboxed:
		return skip("built without a sandbox: the tests could write anywhere")
	}
	return nil
}

// Environment returns an expression for the environment in which nix profile install has only the package whose
// programs have to be on PATH. It is empty if no package requires that. It uses Nix's own builder of profiles.
func (c *Contract) Environment(b Build) string {
	name, ok := c.installed()
	out := b.Outputs[name]
	if !ok || out == "" {
		return ""
	}
	// Each package has: whether it is active, its priority, the number of its outputs, and the outputs.
	return `builtins.derivation {
  name = "contract-environment";
  system = "builtin";
  builder = "builtin:buildenv";
  manifest = builtins.toFile "contract-manifest" "";
  derivations = [ "true" "5" "1" (builtins.storePath ` + nix.Quote(string(out)) + `) ];
  preferLocalBuild = true;
  allowSubstitutes = false;
}`
}

// installed returns the package that is installed for the check of PATH: the first one with that requirement.
func (c *Contract) installed() (matrix.Package, bool) {
	for _, name := range slices.Sorted(maps.Keys(c.Packages)) {
		if len(c.Packages[name].OnPath) > 0 {
			return name, true
		}
	}
	return "", false
}

// onPath checks the programs in an environment that has only the package.
func (o *output) onPath(string) []Result {
	if first, _ := o.installed(); first != o.name {
		return skip("only one package is installed for this check: %s", first)
	}
	bin, err := o.files.find(path.Join(string(o.build.Environment), "bin"))
	if o.build.Environment == "" || err != nil {
		return fail("installed alone, it has no bin")
	}
	lacking := missing(o.required.OnPath, bin.names)
	if len(lacking) == 0 {
		return nil
	}
	// A warning: it is common in packages that rely on propagatedBuildInputs.
	return []Result{{
		Status: Warn, Wanted: strings.Join(o.required.OnPath, ", "), Found: strings.Join(bin.names, ", "),
		Reason: "not on PATH where it is installed alone: " + strings.Join(lacking, ", "),
		Fix: fmt.Sprintf("propagatedUserEnvPkgs = [ %s ];  # beside propagatedBuildInputs, which profiles and Home Manager do not follow",
			strings.ReplaceAll(joined(o.required.Propagates), ",", "")),
	}}
}
