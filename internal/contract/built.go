package contract

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// maxExported is the size up to which a store object is read that a wrapper may refer to. The keyboard rules have some MiB.
const maxExported = 32 << 20

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
	b := &built{Contract: c, recorder: &recorder{system: build.System}, build: build, objects: build.Objects}
	absent := map[matrix.Package]bool{}
	for _, check := range c.built() {
		if check.pkg != "" && b.objects[build.Outputs[check.pkg]] == nil {
			if !absent[check.pkg] {
				b.fail("package/"+string(check.pkg), "it was not built, so that its files cannot be checked")
			}
			absent[check.pkg] = true
			continue
		}
		check.run(b, check.name)
	}
	return b.results
}

// built is what was built for one system, with the results so far.
type built struct {
	*Contract
	*recorder
	build   Build
	objects objects
}

// in returns the path of a file in a package's output.
func (b *built) in(name matrix.Package, elem ...string) string {
	return path.Join(append([]string{string(b.build.Outputs[name])}, elem...)...)
}

// program checks an executable, and that the system can run it.
func (b *built) program(check string, pkg matrix.Package, name string) {
	at := b.in(pkg, "bin", name)
	f, err := b.objects.find(at)
	switch {
	case err != nil:
		b.fail(check, "there is no %s", at)
		return
	case !f.Executable():
		b.fail(check, "%s is not executable", at)
		return
	}
	for !f.IsELF() {
		// The program of a wrapper is beside it, under a hidden name, and may itself be a wrapper.
		name = "." + name + "-wrapped"
		inner, err := b.objects.find(b.in(pkg, "bin", name))
		switch {
		case err != nil && !bytes.Contains(f.Data, []byte(name)):
			b.pass(check) // a script that wraps nothing
			return
		case err != nil:
			b.fail(check, "%s, which it wraps, does not exist", name)
			return
		case !inner.Executable():
			b.fail(check, "%s, which it wraps, is not executable", name)
			return
		}
		f = inner
	}
	b.compare(check, at+" is for another processor", machines[b.build.System].String(), f.machine().String())
}

// machines are the processors of the systems.
var machines = map[matrix.System]elf.Machine{matrix.X8664Linux: elf.EM_X86_64, matrix.AArch64Linux: elf.EM_AARCH64}

// machine returns the processor that an ELF file is for. Both systems are little-endian.
func (f *File) machine() elf.Machine {
	const offset = 18 // of e_machine
	if len(f.Data) < offset+2 {
		return elf.EM_NONE
	}
	return elf.Machine(binary.LittleEndian.Uint16(f.Data[offset:]))
}

// file checks that the output has a file of that path, or of that name in any directory.
func (b *built) file(check string, pkg matrix.Package, name string) {
	for _, at := range b.objects[b.build.Outputs[pkg]].walk() {
		if at == name || !strings.Contains(name, "/") && path.Base(at) == name {
			b.pass(check)
			return
		}
	}
	b.fail(check, "no file of the output has that name")
}

// closure checks that the closure has none of some libraries.
func (b *built) closure(check string, pkg matrix.Package, unwanted []string) {
	var found []string
	out := b.build.Outputs[pkg]
	for _, info := range nix.Closure(b.build.Closure, out) {
		for _, library := range unwanted {
			// A contract may name libxkbcommon "libxkbcommon" or "xkbcommon".
			name, prefix := strings.TrimPrefix(info.Path.Name(), "lib"), strings.TrimPrefix(library, "lib")
			if name == prefix || strings.HasPrefix(name, prefix+"-") {
				found = append(found, string(info.Path))
			}
		}
	}
	if len(found) == 0 {
		b.pass(check)
		return
	}
	b.add(Result{
		Check: check, Status: Fail, Reason: "it needs libraries of the desktop at run time",
		Wanted: "none of " + strings.Join(unwanted, ", "), Found: strings.Join(found, " "),
		Fix: fmt.Sprintf("nix why-depends %s %s", out, found[0]),
	})
}

// wrapped checks that a wrapper sets a variable to a directory of its closure.
func (b *built) wrapped(check string, pkg matrix.Package, w Wrapped) {
	f, err := b.objects.find(b.in(pkg, "bin", w.Binary))
	if err != nil {
		b.fail(check, "there is no program to be wrapped")
		return
	}
	// A shell script has XKB_CONFIG_ROOT='/nix/store/…'. A compiled wrapper has its command line: --set 'XKB_CONFIG_ROOT' '/nix/store/…'.
	set := regexp.MustCompile(regexp.QuoteMeta(w.Variable) + `\W{1,8}?(/[^'"\s\x00]+)`).FindSubmatch(f.Data)
	if set == nil {
		b.fail(check, "%s is not set", w.Variable)
		return
	}
	value := string(set[1])
	if !strings.HasSuffix(value, w.Suffix) {
		b.add(Result{Check: check, Status: Fail, Reason: w.Variable + " leads elsewhere", Wanted: "…" + w.Suffix, Found: value})
		return
	}
	object, _, err := splitStorePath(value)
	inClosure := slices.ContainsFunc(nix.Closure(b.build.Closure, b.build.Outputs[pkg]), func(info nix.PathInfo) bool { return info.Path == object })
	if err != nil || !inClosure {
		b.fail(check, "%s is %s, which is not in the closure", w.Variable, value)
		return
	}
	if b.objects[object] == nil {
		b.skip(check, "%s is too large to be looked into", object)
		return
	}
	if dir, err := b.objects.find(value); err != nil || !dir.Mode.IsDir() {
		b.fail(check, "%s is %s, which is not a directory", w.Variable, value)
		return
	}
	b.pass(check)
}

func (b *built) propagates(check string, pkg, other matrix.Package) {
	const file = "nix-support/propagated-build-inputs"
	found, wanted := "", string(b.build.Outputs[other])
	if f, err := b.objects.find(b.in(pkg, file)); err == nil {
		found = string(f.Data)
	}
	if slices.Contains(strings.Fields(found), wanted) {
		b.pass(check)
		return
	}
	b.add(Result{
		Check: check, Status: Fail, Reason: file + " does not name it", Wanted: wanted, Found: strings.TrimSpace(found),
		Fix: fmt.Sprintf("propagatedBuildInputs = [ %s ];", other),
	})
}

// testsOutside checks that the tests could write only into the build directory, which is so in a sandbox.
func (b *built) testsOutside(check string) {
	switch sandboxed := b.build.Sandboxed; {
	case sandboxed == nil:
		b.skip(check, "nothing was built in this run, so it is not known where the tests wrote")
	case !*sandboxed:
		b.skip(check, "built without a sandbox: the tests could write anywhere")
	default:
		b.pass(check)
	}
}
