package main

import (
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"testing"
)

// Functions that open files, by package, and methods of any type that do: those of [os.Root] and [io/fs.FS].
var (
	opens = map[string][]string{
		"os":                    {"Open", "OpenFile", "OpenInRoot", "OpenRoot", "ReadFile", "Create", "WriteFile", "DirFS", "CopyFS"},
		"io/fs":                 {"ReadFile"},
		"io/ioutil":             {"ReadFile", "WriteFile"},
		"syscall":               {"Open", "Openat", "Creat"},
		"golang.org/x/sys/unix": {"Open", "Openat", "Openat2", "Creat"},
	}
	openMethods = []string{"Open", "OpenFile", "OpenRoot", "ReadFile", "Create", "WriteFile"}
)

// Where files are opened outside of package regular, and why that cannot wait for a named pipe or open a device.
var otherOpeners = map[string]string{
	"ci/environment.go: os.ReadFile":                     "the state of this process, by the kernel's name",
	"example/example.go: method ReadFile":                "files that are embedded in the program",
	"example/example.go: os.WriteFile":                   "a tree that the program writes into its own working directory",
	"internal/nar/file.go: golang.org/x/sys/unix.Open":   "does the same as package regular, with fewer system calls for each of many files",
	"internal/engine/binfmt/binfmt.go: os.ReadFile":      "the kernel's table",
	"internal/engine/binfmt/register.go: os.ReadFile":    "a file of root's",
	"internal/engine/binfmt/register.go: os.WriteFile":   "the kernel's table",
	"internal/engine/binfmt/version.go: os.ReadFile":     "an interpreter that root has registered",
	"internal/engine/dagger/archive.go: os.DirFS":        "archive/tar opens what it has found to be a regular file",
	"internal/contract/units.go: os.WriteFile":           "a file in a directory that the program has just made",
	"internal/flake/repository.go: os.WriteFile":         "a repository that the program has just made",
	"internal/engine/dagger/addpath.go: os.Create":       "a file in a directory that the program has just made",
	"internal/engine/dagger/addpath.go: os.DirFS":        "a tree of directories, regular files and links alone, which the program has made",
	"internal/report/stepfiles.go: os.OpenFile":          "a file that the runner has made for the step",
	"internal/flake/tarball.go: method Open":             "an entry of a zip archive",
	"internal/flake/tarball.go: os.OpenRoot":             "a tree that is made of directories, regular files and links alone",
	"internal/flake/tree.go: method OpenFile":            "O_EXCL: it opens nothing that is there",
	"internal/flake/tree.go: os.OpenRoot":                "a directory that the program has just made",
	"internal/flake/view.go: os.Create":                  "a repository that the program has just made",
	"internal/flake/view.go: os.OpenFile":                "a repository that the program has just made",
	"internal/flake/view.go: os.WriteFile":               "a repository that the program has just made",
	"internal/engine/host/busybuilddir.go: os.WriteFile": "a file in a directory that the program has just made",
	"internal/engine/host/resources.go: os.ReadFile":     "counters of the kernel",
	"internal/engine/host/buildusers.go: os.ReadFile":    "a file of root's",
	"pipelines/preflight.go: method Open":                "opens an engine",
	"pipelines/probe.go: os.WriteFile":                   "a file in a directory that the program has just made",
	"internal/unpack/formats.go: method Open":            "a member of a file that is in memory",
}

// Packages that only tests use.
var onlyForTests = []string{"cachix/cachixtest", "internal/engine/enginetest", "internal/nar/nartest", "internal/nixtest"}

// A file that a stranger names or makes can be a named pipe. Only package regular opens files, so that no new command waits
// for one.
func TestOnlyRegularOpensFiles(t *testing.T) {
	checkUses(t, opens, openMethods, otherOpeners)
}

// checkUses finds functions and methods that are used outside of package regular without a reason in the table. The table
// has a file with the function, or a file alone.
func checkUses(t *testing.T, functions map[string][]string, methods []string, reasons map[string]string) {
	t.Helper()
	unused := maps.Clone(reasons)
	for _, f := range goFiles(t) {
		if f.test || f.pkg == "internal/regular" || slices.Contains(onlyForTests, f.pkg) {
			continue
		}
		for _, use := range append(f.uses(functions), f.methods(methods)...) {
			key := f.name + ": " + use.name
			if _, ok := reasons[f.name]; ok {
				key = f.name
			}
			if _, ok := reasons[key]; !ok {
				t.Errorf("%s: %s; use package regular, or add %q to the table with the reason", use.at, use.name, key)
			}
			delete(unused, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(unused)) {
		t.Errorf("%s is in the table, and not in the source", key)
	}
}

// methods finds calls of methods by name, whatever they are of.
func (f goFile) methods(names []string) []use {
	packages := map[string]bool{}
	for _, spec := range f.syntax.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		local := path.Base(imported)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		packages[local] = true
	}
	var uses []use
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok || !slices.Contains(names, selector.Sel.Name) {
			return true
		}
		if pkg, ok := selector.X.(*ast.Ident); !ok || !packages[pkg.Name] {
			uses = append(uses, use{f.position(selector.Pos()), "method " + selector.Sel.Name})
		}
		return true
	})
	return uses
}

func (f goFile) position(at token.Pos) string {
	return f.name + ":" + strconv.Itoa(f.fset.Position(at).Line)
}
