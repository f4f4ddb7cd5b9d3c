package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Functions that write to standard output or standard error, or return them, by package; methods of any type that do; and the
// kernel's names for them.
var (
	writes = map[string][]string{
		"os":   {"Stdout", "Stderr", "NewFile"},
		"fmt":  {"Print", "Printf", "Println"},
		"flag": {"Parse", "CommandLine", "PrintDefaults", "Usage"},
		"log": {
			"Default", "Fatal", "Fatalf", "Fatalln", "Output", "Panic", "Panicf", "Panicln", "Print", "Printf", "Println",
			"SetOutput", "Writer",
		},
		"log/slog": {
			"Debug", "DebugContext", "Default", "Error", "ErrorContext", "Info", "InfoContext", "Log", "LogAttrs", "SetDefault", "Warn",
			"WarnContext", "With",
		},
		"runtime/debug":          {"PrintStack", "SetCrashOutput"},
		"syscall":                {"Dup2", "Dup3", "Pwrite", "Stderr", "Stdout", "Write"},
		"golang.org/x/sys/unix":  {"Dup2", "Dup3", "Pwrite", "Stderr", "Stdout", "Write", "Writev"},
		"github.com/spf13/cobra": {"CheckErr"},
		"github.com/spf13/pflag": {"CommandLine", "Parse", "PrintDefaults"},
		"go/ast":                 {"Print"},
	}
	writeMethods = []string{
		"ErrOrStderr", "OutOrStderr", "OutOrStdout", "Print", "PrintErr", "PrintErrf", "PrintErrln", "Printf", "Println", "SetErr",
		"SetOut", "SetOutput",
	}
	writeBuiltins = []string{"print", "println"}
	standardFiles = []string{"/dev/std", "/dev/tty", "/dev/console", "/dev/fd", "/dev/pts", "/proc/self/fd"}
)

// Where the standard files are used outside of package report, and why only cleaned text gets there.
var otherWriters = map[string]string{
	"ci/main.go: os.Stdout":     "run puts a report.Output in front of it",
	"ci/main.go: os.Stderr":     "run puts a report.Output in front of it",
	"ci/main.go: log.SetOutput": "a separate report.Output",
	"ci/main.go: method SetOut": "a report.Output",
	"ci/main.go: method SetErr": "a report.Output",

	"cachix/cachixtest/serve/main.go: os.Stdout":         "a report.Output is in front of it",
	"cachix/cachixtest/serve/main.go: os.Stderr":         "a report.Output is in front of it",
	"cachix/cachixtest/serve/flags.go: method SetOutput": "a writer that it is given",
}

// All output goes through one writer, which cleans it. There is no other, so a new command cannot forget it.
func TestOnlyOutputWrites(t *testing.T) {
	unused := maps.Clone(otherWriters)
	for _, f := range goFiles(t) {
		if f.test || slices.Contains(onlyForTests, f.pkg) {
			continue
		}
		for _, use := range f.writers() {
			key := f.name + ": " + use.name
			if _, ok := otherWriters[key]; !ok {
				t.Errorf("%s: %s; write to the output that the command has, or add %q to otherWriters with the reason", use.at, use.name, key)
			}
			delete(unused, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(unused)) {
		t.Errorf("%s is in otherWriters, and not in the source", key)
	}
}

// The test above finds each way to write that it knows.
func TestOtherWritersAreFound(t *testing.T) {
	for source, want := range map[string]string{
		`import "os"; var _ = os.Stderr`:                                               "os.Stderr",
		`import o "os"; var _ = o.NewFile(2, "")`:                                      "os.NewFile",
		`import "fmt"; func f() { fmt.Println("x") }`:                                  "fmt.Println",
		`import "log"; func f() { log.Printf("x") }`:                                   "log.Printf",
		`import "log/slog"; func f() { slog.Info("x") }`:                               "log/slog.Info",
		`import "syscall"; func f() { syscall.Write(2, nil) }`:                         "syscall.Write",
		`import "github.com/spf13/cobra"; func f(c *cobra.Command) { c.PrintErrln() }`: "method PrintErrln",
		`func f() { println("x") }`:                                                    "println",
		`const f = "/dev/stderr"`:                                                      "\"/dev/stderr\"",
		`import . "fmt"; func f() { Println("x") }`:                                    "import . \"fmt\"",
	} {
		f := parseTest(t, "package p; "+source)
		found := f.writers()
		if len(found) != 1 || found[0].name != want {
			t.Errorf("%s: found %v, want %s", source, found, want)
		}
	}
}

// Text that an output does not clean is made in one file, which cleans it.
func TestShownTextIsMadeInOneFile(t *testing.T) {
	conversions := 0
	for _, f := range goFiles(t) {
		if f.test || f.pkg != "internal/report" {
			continue
		}
		for _, use := range f.builtins([]string{"shown"}) {
			if conversions++; f.name != "internal/report/shown.go" {
				t.Errorf("%s: converts to shown; clean the text by style.clean", use.at)
			}
		}
		for _, use := range f.uses(map[string][]string{"github.com/sethvargo/go-githubactions": {"New"}}) {
			if f.name != "internal/report/shown.go" {
				t.Errorf("%s: %s; issue commands by command", use.at, use.name)
			}
		}
	}
	if conversions == 0 {
		t.Error("no conversion is found: is the type still there?")
	}
}

// Where JSON is encoded outside of package printable, and why it does not reach a screen unescaped.
var otherEncoders = map[string]string{
	"internal/sbom/document.go: github.com/CycloneDX/cyclonedx-go.NewBOMEncoder": "printable.EscapeJSON takes what it makes",
	"internal/publish/journal.go: encoding/json.MarshalIndent":                   "a file that the program alone reads",
}

// Documents and events are encoded in one place, which escapes control characters.
func TestOnlyPrintableEncodesJSONForPeople(t *testing.T) {
	encodes := map[string][]string{
		"encoding/json":                     {"MarshalIndent", "NewEncoder", "Indent"},
		"github.com/CycloneDX/cyclonedx-go": {"NewBOMEncoder"},
	}
	for _, f := range goFiles(t) {
		if f.test || f.pkg == "internal/printable" || slices.Contains(onlyForTests, f.pkg) {
			continue
		}
		for _, use := range f.uses(encodes) {
			if key := f.name + ": " + use.name; otherEncoders[key] == "" {
				t.Errorf("%s: %s; encode by package printable, or add %q to otherEncoders with the reason", use.at, use.name, key)
			}
		}
	}
}

// writers finds all uses of the standard files. It refuses dot imports, which would hide some.
func (f goFile) writers() []use {
	found := slices.Concat(f.uses(writes), f.methods(writeMethods), f.builtins(writeBuiltins), f.literals(standardFiles))
	for _, spec := range f.syntax.Imports {
		if spec.Name != nil && spec.Name.Name == "." {
			found = append(found, use{f.position(spec.Pos()), "import . " + spec.Path.Value})
		}
	}
	return found
}

// parseTest parses the source of a file.
func parseTest(t *testing.T, source string) goFile {
	t.Helper()
	f := goFile{name: "p.go", fset: token.NewFileSet()}
	var err error
	if f.syntax, err = parser.ParseFile(f.fset, f.name, source, parser.SkipObjectResolution); err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return f
}

// builtins finds calls of functions and conversions to types without the name of a package.
func (f goFile) builtins(names []string) []use {
	var uses []use
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); ok && slices.Contains(names, name.Name) {
			uses = append(uses, use{f.position(call.Pos()), name.Name})
		}
		return true
	})
	return uses
}

// literals finds texts that begin with one of these.
func (f goFile) literals(prefixes []string) []use {
	var uses []use
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		text, _ := strconv.Unquote(literal.Value)
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(text, prefix) }) {
			uses = append(uses, use{f.position(literal.Pos()), literal.Value})
		}
		return true
	})
	return uses
}
