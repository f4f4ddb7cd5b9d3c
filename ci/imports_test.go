package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/scopecreep-zip/open-sesame-ci"

// The layout: which packages of this module each package may import. Imports point downwards only. A new package fails
// the test until it has an entry here.
var layout = map[string]struct {
	imports []string
	tests   []string // further ones, for its tests
	because string
}{
	"matrix": {
		imports: []string{"internal/hint"},
		because: "it is pure data",
	},
	"cachix": {
		imports: []string{"internal/hint", "internal/nar", "internal/nix", "internal/printable", "internal/regular", "internal/run"},
		tests:   []string{"cachix/cachixtest"},
		because: "it talks to Cachix for every caller",
	},
	"cachix/cachixtest": {
		imports: []string{"internal/nar", "internal/nix"},
		because: "it takes the place of Cachix in tests, and shares the format of NARs alone with the client",
	},
	"cachix/cachixtest/serve": {
		imports: []string{"cachix/cachixtest", "internal/report"},
		because: "it starts that server by hand",
	},
	"example": {
		tests:   []string{"internal/nixtest", "matrix"},
		because: "it is a flake, with the code to write it out",
	},
	"internal/hint": {
		because: "every error may carry a hint, so it lies below everything",
	},
	"internal/regular": {
		because: "it opens files for all that read them, so it lies below everything",
	},
	"internal/workdir": {
		imports: []string{"internal/regular"},
		because: "it makes directories for all that need one for a time",
	},
	"internal/nix": {
		imports: []string{"internal/regular"},
		because: "it is the vocabulary: it knows neither what is built nor where",
	},
	"internal/printable": {
		imports: []string{"internal/nix"},
		because: "it cleans text for all that show or write it, so it lies below them",
	},
	"internal/engine/binfmt": {
		imports: []string{"internal/hint", "matrix"},
		because: "it reads the kernel's table for every caller",
	},
	"internal/engine/probe": {
		imports: []string{"matrix"},
		tests:   []string{"internal/engine/binfmt"},
		because: "it is one small program for each system",
	},
	"internal/nixtest": {
		imports: []string{"internal/engine/binfmt", "internal/engine/probe", "matrix"},
		because: "it asks this machine's Nix for tests, and knows no executor",
	},
	"internal/nixtext": {
		because: "it parses Nix text for any purpose",
	},
	"internal/nar": {
		imports: []string{"internal/nix"},
		tests:   []string{"internal/nar/nartest"},
		because: "it reads and writes archives, wherever they come from",
	},
	"internal/nar/nartest": {
		imports: []string{"internal/nix"},
		because: "it tests package nar, and so shares nothing with it",
	},
	"internal/binarycache": {
		imports: []string{"internal/hint", "internal/nar", "internal/nix", "internal/regular"},
		tests:   []string{"internal/nar/nartest"},
		because: "it packs store objects of any origin",
	},
	"internal/child": {
		because: "it runs programs for other packages, and knows none of them",
	},
	"internal/flake": {
		imports: []string{"internal/child", "internal/hint", "internal/nar", "internal/nix", "internal/nixtext", "internal/regular"},
		because: "it reads references, lock files and trees of flakes, and evaluates nothing",
	},
	"internal/record": {
		imports: []string{"internal/hint", "internal/nix", "internal/regular"},
		because: "it keeps what runs know, and knows neither engines nor caches",
	},
	"internal/handover": {
		imports: []string{"internal/binarycache", "internal/hint", "internal/nix", "internal/regular", "internal/run", "matrix"},
		because: "it reads what builds on other machines have left, and knows neither an engine nor where it is published",
	},
	"internal/outcache": {
		imports: []string{"internal/binarycache", "internal/hint", "internal/nix", "internal/record", "internal/run"},
		because: "it compares a binary cache with the record",
	},
	"internal/contract": {
		imports: []string{
			"internal/flake", "internal/hint", "internal/nar", "internal/nix", "internal/nixtext", "internal/regular",
			"internal/tomlfile", "internal/workdir", "matrix",
		},
		tests:   []string{"example", "internal/nixtest"},
		because: "it checks a flake by its files, and by evaluations and outputs that others make",
	},
	"internal/drvdiff": {
		imports: []string{"internal/nix", "internal/printable", "internal/regular", "internal/run"},
		tests:   []string{"example"},
		because: "it compares derivations, wherever their texts come from",
	},
	"internal/unpack": {
		imports: []string{"internal/nar"},
		because: "it reads files of other formats, whatever they are for",
	},
	"internal/compare": {
		imports: []string{
			"internal/binarycache", "internal/hint", "internal/nar", "internal/nix", "internal/printable", "internal/regular",
			"internal/run", "internal/unpack", "matrix",
		},
		because: "it compares trees, wherever they come from",
	},
	"internal/derivations": {
		imports: []string{"internal/drvdiff", "internal/nar", "internal/regular"},
		tests:   []string{"internal/nix"},
		because: "it stores derivations in files, and evaluates nothing",
	},
	"internal/reproduce": {
		imports: []string{
			"internal/binarycache", "internal/compare", "internal/contract", "internal/drvdiff", "internal/nix",
			"internal/run", "matrix",
		},
		tests:   []string{"internal/engine", "internal/nar"},
		because: "it compares two runs that are over",
	},
	"internal/provenance": {
		imports: []string{
			"internal/engine", "internal/hint", "internal/nar", "internal/nix", "internal/regular", "internal/run", "matrix",
		},
		tests:   []string{"internal/binarycache", "internal/flake"},
		because: "it states what a run did, and reads caches and stores alone",
	},
	"internal/sbom": {
		imports: []string{"internal/nix", "internal/printable", "internal/regular", "internal/run", "matrix"},
		tests:   []string{"internal/binarycache"},
		because: "it lists what a cache has",
	},
	"pipelines": {
		imports: []string{
			"internal/buildlog", "internal/contract", "internal/derivations", "internal/engine", "internal/engine/probe",
			"internal/flake", "internal/handover", "internal/hint", "internal/nix", "internal/printable",
			"internal/provenance", "internal/publish", "internal/record", "internal/regular", "internal/run", "internal/sbom",
			"internal/workdir", "matrix",
		},
		tests:   []string{"cachix", "internal/run/runtest"},
		because: "a run knows no engine, no cache and no screen: it needs only the interfaces in deps.go",
	},
	"internal/engine/host": {
		imports: []string{
			"internal/child", "internal/engine", "internal/engine/binfmt", "internal/hint", "internal/nix", "internal/workdir",
			"matrix",
		},
		tests:   []string{"internal/engine/enginetest", "internal/nixtest"},
		because: "it is one executor, and knows nothing of the others",
	},
	"internal/engine/dagger": {
		imports: []string{
			"internal/child", "internal/engine", "internal/engine/binfmt", "internal/engine/probe", "internal/hint",
			"internal/nar", "internal/nix", "internal/regular", "internal/workdir", "matrix",
		},
		tests:   []string{"internal/engine/enginetest"},
		because: "it is one executor, and knows nothing of the others",
	},
	"internal/engine/enginetest": {
		imports: []string{"internal/engine", "internal/engine/probe", "internal/nar", "internal/nix", "matrix"},
		tests:   []string{"internal/engine/host", "internal/nixtest"},
		because: "it is the contract of all executors, and knows none of them",
	},
	"internal/report": {
		imports: []string{"internal/contract", "internal/nix", "internal/printable", "internal/run", "matrix"},
		tests:   []string{"internal/engine"},
		because: "it shows events, and does nothing else",
	},
	"ci": {
		imports: []string{
			"cachix", "ci/opensesame", "example", "internal/binarycache", "internal/child", "internal/compare",
			"internal/contract", "internal/derivations", "internal/drvdiff", "internal/engine", "internal/engine/dagger",
			"internal/engine/host", "internal/flake", "internal/github", "internal/handover", "internal/hint", "internal/nar",
			"internal/nix", "internal/online", "internal/outcache", "internal/printable", "internal/project",
			"internal/provenance", "internal/publish", "internal/record", "internal/regular", "internal/report",
			"internal/reproduce", "internal/run", "internal/scaffold", "internal/setup", "internal/workdir", "matrix",
			"pipelines",
		},
		tests:   []string{"cachix/cachixtest", "internal/engine/binfmt", "internal/engine/probe", "internal/nixtest", "internal/sbom"},
		because: "it puts the parts together",
	},
	"internal/engine": {
		imports: []string{"internal/nix", "matrix"},
		because: "it is what the steps of a run need of an engine, and knows no engine",
	},
	"internal/run": {
		imports: []string{
			"internal/contract", "internal/engine", "internal/flake", "internal/hint", "internal/nar", "internal/nix",
			"internal/regular", "matrix",
		},
		because: "it is the vocabulary of a run: manifest, results, outcome and events",
	},
	"internal/run/runtest": {
		imports: []string{"internal/nix", "internal/run"},
		because: "it records the events of a run for tests",
	},
	"internal/buildlog": {
		imports: []string{
			"internal/contract", "internal/engine", "internal/nix", "internal/printable", "internal/regular", "internal/run",
			"matrix",
		},
		tests:   []string{"internal/run/runtest"},
		because: "it reads Nix's build log, and knows no step of a run",
	},
	"ci/opensesame": {
		imports: []string{"internal/contract", "internal/project"},
		because: "it is the data of one project",
	},
	"internal/project": {
		imports: []string{"internal/contract", "internal/hint", "internal/nix", "internal/tomlfile", "matrix"},
		because: "it is data: what is released, and the parser of its file",
	},
	"internal/tomlfile": {
		imports: []string{"internal/hint"},
		because: "it decodes files for the packages that know what is in them",
	},
	"internal/publish": {
		imports: []string{
			"cachix", "internal/binarycache", "internal/hint", "internal/nix", "internal/record", "internal/regular",
			"internal/run", "matrix",
		},
		because: "it publishes what a run has built, and knows neither engines nor the order of steps",
	},
	"internal/github": {
		imports: []string{"internal/child", "internal/hint", "internal/regular"},
		because: "it reads the variables of a job on GitHub, and decides by the event alone",
	},
	"internal/scaffold": {
		imports: []string{"internal/contract", "internal/project", "matrix"},
		because: "it makes texts, and writes no file",
	},
	"internal/online": {
		imports: []string{"cachix", "internal/binarycache", "internal/hint", "internal/nix", "internal/printable"},
		tests:   []string{"cachix/cachixtest"},
		because: "it asks real services what this program assumes, and changes nothing there",
	},
	"internal/setup": {
		imports: []string{
			"internal/engine/binfmt", "internal/engine/dagger", "internal/engine/host", "internal/hint", "internal/nix",
			"matrix",
		},
		because: "it installs what the host engine needs, and knows nothing of a run",
	},
}

// Modules that one package alone may import, so that they can be replaced there.
var onlyIn = []struct{ module, pkg, because string }{
	{"dagger.io/dagger", "internal/engine/dagger", "all that is particular to Dagger is in one place"},
	{"github.com/sethvargo/go-githubactions", "internal/report", "workflow commands are one way to show events"},
	{"github.com/in-toto/attestation", "internal/provenance", "its forms are those of one kind of statement"},
	{"github.com/secure-systems-lab/go-securesystemslib", "internal/provenance", "statements alone are signed in envelopes"},
	{"github.com/sigstore", "internal/provenance", "it verifies one kind of statement"},
	{"github.com/CycloneDX/cyclonedx-go", "internal/sbom", "another form of bill could take its place"},
	{"github.com/spf13/cobra", "ci", "flags become concrete types there and only there"},
	{"github.com/spf13/pflag", "ci", "flags become concrete types there and only there"},
}

func TestImportsPointDownwards(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range goFiles(t) {
		seen[f.pkg] = true
		rule, ok := layout[f.pkg]
		if !ok {
			t.Errorf("%s: package %s has no place in the layout: add it to the table in ci/imports_test.go", f.name, f.pkg)
			continue
		}
		allowed := rule.imports
		if f.test {
			allowed = append(slices.Clone(rule.tests), rule.imports...)
			allowed = append(allowed, f.pkg)
		}
		for _, imported := range f.imports() {
			if local, ok := strings.CutPrefix(imported, modulePath+"/"); ok && !slices.Contains(allowed, local) {
				t.Errorf("%s imports %s; %s may not: %s", f.name, local, f.pkg, rule.because)
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(layout)) {
		if !seen[pkg] {
			t.Errorf("package %s is in the table of ci/imports_test.go, and not in the module", pkg)
		}
	}
}

func TestForeignImportsStayInTheirPackage(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imported := range f.imports() {
			for _, rule := range onlyIn {
				if (imported == rule.module || strings.HasPrefix(imported, rule.module+"/")) && f.pkg != rule.pkg {
					t.Errorf("%s imports %s; only %s may: %s", f.name, imported, rule.pkg, rule.because)
				}
			}
		}
	}
}

// Functions that read the environment, or end the process, by package.
var (
	readsEnvironment = map[string][]string{
		"os": {
			"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv", "Clearenv",
			"UserHomeDir", "UserCacheDir", "UserConfigDir",
		},
		"syscall": {"Getenv", "Environ", "Setenv", "Unsetenv", "Clearenv"},
	}
	endsProcess = map[string][]string{
		"os": {"Exit"}, "syscall": {"Exit"},
		"log": {"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"},
	}
)

func TestOnlyCIReadsTheEnvironment(t *testing.T) {
	for _, f := range goFiles(t) {
		// The executors' contract sets and reads a variable to see that no command does; nartest runs Nix for tests.
		if f.test || f.pkg == "ci" || f.pkg == "internal/engine/enginetest" || f.pkg == "internal/nar/nartest" {
			continue
		}
		for _, use := range f.uses(readsEnvironment) {
			t.Errorf("%s: %s; only package ci reads the environment, so that secrets are removed in one place",
				use.at, use.name)
		}
	}
}

// Open Sesame is data. Only the name of this program and of its module contains that name elsewhere.
func TestOnlyItsOwnPackageNamesOpenSesame(t *testing.T) {
	named := regexp.MustCompile(`(?i)open[ -]?sesame|scope_?creep`)
	own := regexp.MustCompile(`(?i)(github\.com/)?(scopecreep-zip/)?open-sesame-ci`)
	found := false
	for _, f := range goFiles(t) {
		for i, line := range strings.Split(readTest(t, filepath.Join("..", f.name)), "\n") {
			switch line = strings.ReplaceAll(own.ReplaceAllString(line, ""), `"ci/opensesame"`, ""); {
			case f.test || strings.HasPrefix(f.pkg, "cachix/cachixtest") || !named.MatchString(line):
			case f.pkg == "ci/opensesame":
				found = true
			case f.name != "ci/project.go": // it calls the package
				t.Errorf("%s:%d names Open Sesame: %s", f.name, i+1, strings.TrimSpace(line))
			}
		}
	}
	if !found {
		t.Error("ci/opensesame does not name Open Sesame: this test looks for the wrong name")
	}
}

func TestOnlyMainEndsTheProcess(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || f.name == "ci/main.go" || f.name == "cachix/cachixtest/serve/main.go" {
			continue
		}
		for _, use := range f.uses(endsProcess) {
			t.Errorf("%s: %s; only ci/main.go ends the process: return an error, so that deferred functions run",
				use.at, use.name)
		}
	}
}

// goFile is a file of the module.
type goFile struct {
	name   string // relative to the module, with slashes
	pkg    string // its directory
	test   bool
	syntax *ast.File
	fset   *token.FileSet
}

// goFiles parses all Go files of the module, whatever system they are for.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && file != ".." && (name == "testdata" || name == "out" || name[0] == '.' || name[0] == '_'):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		rel, err := filepath.Rel("..", file)
		if err != nil {
			return err
		}
		f := goFile{name: filepath.ToSlash(rel), test: strings.HasSuffix(rel, "_test.go"), fset: token.NewFileSet()}
		f.pkg = path.Dir(f.name)
		f.syntax, err = parser.ParseFile(f.fset, file, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (f goFile) imports() []string {
	var imports []string
	for _, spec := range f.syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has taken it
		}
		imports = append(imports, imported)
	}
	return imports
}

// use is a place where a function is named.
type use struct{ at, name string }

// uses finds the functions of the packages in a file, under whatever name it imports them.
func (f goFile) uses(functions map[string][]string) []use {
	names := map[string]string{} // of packages, by the name in the file
	for _, spec := range f.syntax.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		local := path.Base(imported)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		names[local] = imported
	}
	var uses []use
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := selector.X.(*ast.Ident); ok && slices.Contains(functions[names[pkg.Name]], selector.Sel.Name) {
			at := f.fset.Position(selector.Pos())
			uses = append(uses, use{at: f.name + ":" + strconv.Itoa(at.Line), name: names[pkg.Name] + "." + selector.Sel.Name})
		}
		return true
	})
	return uses
}
