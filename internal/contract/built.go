package contract

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// maxExported is up to what size a store object is read that a wrapper may point into. The keyboard rules have some MiB.
const maxExported = 32 << 20

// Exported returns the store objects whose files the checks look into: the packages' own outputs, and where a program
// is wrapped, what its package refers to, for the wrapper points there.
func (c *Contract) Exported(b Build) []nix.StorePath {
	var paths []nix.StorePath
	for name, out := range b.Outputs {
		paths = append(paths, out)
		if len(c.Packages[name].Wrapped) == 0 {
			continue
		}
		sizes := map[nix.StorePath]int64{}
		for _, info := range b.Closure {
			sizes[info.Path] = info.NARSize
		}
		for _, info := range b.Closure {
			if info.Path != out {
				continue
			}
			for _, ref := range info.References {
				if sizes[ref] <= maxExported {
					paths = append(paths, ref)
				}
			}
		}
	}
	return nix.SortedPaths(paths)
}

// Built looks at what was built: the files of the outputs, and their closure.
func (c *Contract) Built(b Build) []Result {
	v := &recorder{system: b.System}
	u := &built{Contract: c, recorder: v, build: b, objects: b.Objects}
	for _, name := range slices.Sorted(maps.Keys(c.Packages)) {
		u.pkg(name, c.Packages[name])
	}
	u.verify()
	u.testsOutside()
	return v.results
}

// built is one system's outputs on their way to a verdict.
type built struct {
	*Contract
	*recorder
	build   Build
	objects objects
}

// pkg looks into one package.
func (b *built) pkg(name matrix.Package, p Package) {
	check := "package/" + string(name)
	out, ok := b.build.Outputs[name]
	tree := b.objects[out]
	if !ok || tree == nil {
		b.fail(check, "it was not built, and its files cannot be looked at")
		return
	}
	for _, program := range p.Binaries {
		b.program(check+"/binaries/"+program, out, program)
	}
	for _, file := range p.Files {
		b.file(check+"/files/"+file, tree, file)
	}
	for _, unit := range p.Units {
		b.unit(name, out, unit)
	}
	if len(p.NotInClosure) > 0 {
		b.closure(check+"/closure", out, p.NotInClosure)
	}
	for _, w := range p.Wrapped {
		b.wrapped(check+"/wrapped/"+w.Binary, out, w)
	}
	for _, other := range p.Propagates {
		b.propagates(check+"/propagates/"+string(other), out, other)
	}
	if len(p.OnPath) > 0 {
		b.onPath(check+"/on-path", name, p.OnPath)
	}
}

// program looks for an executable that the system can run.
func (b *built) program(check string, out nix.StorePath, name string) {
	at := path.Join(string(out), "bin", name)
	f, err := b.objects.find(at)
	switch {
	case err != nil:
		b.fail(check, "there is no %s", at)
		return
	case !f.Executable():
		b.fail(check, "%s is not executable", at)
		return
	}
	for f != nil && !f.IsELF() {
		// A wrapper's program is beside it, under a hidden name, and may be a wrapper again.
		name = "." + name + "-wrapped"
		inner, err := b.objects.find(path.Join(string(out), "bin", name))
		switch {
		case err != nil && !bytes.Contains(f.Data, []byte(name)):
			inner = nil // a script in its own right
		case err != nil:
			b.fail(check, "%s, which it wraps, is not there", name)
			return
		case !inner.Executable():
			b.fail(check, "%s, which it wraps, is not executable", name)
			return
		}
		f = inner
	}
	if f != nil {
		if wanted, found := machines[b.build.System], f.machine(); found != wanted {
			b.compare(check, at+" is for another processor", wanted.String(), found.String())
			return
		}
	}
	b.pass(check)
}

// machines are those whose programs a system runs.
var machines = map[matrix.System]elf.Machine{matrix.X8664Linux: elf.EM_X86_64, matrix.AArch64Linux: elf.EM_AARCH64}

// machine returns the processor that an ELF file is for. Both systems are little-endian.
func (f *File) machine() elf.Machine {
	const offset = 18 // of e_machine
	if len(f.Data) < offset+2 {
		return elf.EM_NONE
	}
	return elf.Machine(binary.LittleEndian.Uint16(f.Data[offset:]))
}

// file looks for a file by its path, or by its name alone.
func (b *built) file(check string, tree *Tree, name string) {
	for _, at := range tree.walk() {
		if at == name || !strings.Contains(name, "/") && path.Base(at) == name {
			b.pass(check)
			return
		}
	}
	b.fail(check, "no file of the output has that name")
}

// closure looks for libraries that have no business at run time.
func (b *built) closure(check string, out nix.StorePath, unwanted []string) {
	var found []string
	for _, info := range nix.Closure(b.build.Closure, out) {
		for _, library := range unwanted {
			// libxkbcommon is "libxkbcommon" to some, "xkbcommon" to others.
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

// wrapped looks whether a wrapper sets a variable to a directory that is installed along with it.
func (b *built) wrapped(check string, out nix.StorePath, w Wrapped) {
	f, err := b.objects.find(path.Join(string(out), "bin", w.Binary))
	if err != nil {
		b.fail(check, "there is no program to be wrapped")
		return
	}
	// A shell script says XKB_CONFIG_ROOT='/nix/store/…', a compiled wrapper keeps its command line: --set 'XKB_CONFIG_ROOT' '/nix/store/…'.
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
	inClosure := slices.ContainsFunc(nix.Closure(b.build.Closure, out), func(info nix.PathInfo) bool { return info.Path == object })
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

func (b *built) propagates(check string, out nix.StorePath, other matrix.Package) {
	const file = "nix-support/propagated-build-inputs"
	var found string
	if f, err := b.objects.find(path.Join(string(out), file)); err == nil {
		found = string(f.Data)
	}
	if slices.Contains(strings.Fields(found), string(b.build.Outputs[other])) {
		b.pass(check)
		return
	}
	b.add(Result{
		Check: check, Status: Fail, Reason: file + " does not name it", Wanted: string(b.build.Outputs[other]), Found: strings.TrimSpace(found),
		Fix: fmt.Sprintf("propagatedBuildInputs = [ %s ];", other),
	})
}

// outside is about files that tests leave behind, or find there. All that can be looked at is whether there was anywhere else to write.
func (b *built) testsOutside() {
	if b.PreCheck == nil {
		return
	}
	const check = "pre-check/outside"
	switch {
	case b.build.Sandboxed == nil:
		b.skip(check, "nothing was built in this run, so nobody has seen where the tests wrote")
	case !*b.build.Sandboxed:
		b.skip(check, "built without a sandbox: the tests could write anywhere")
	default:
		b.pass(check) // the sandbox had nothing else to write to
	}
}
