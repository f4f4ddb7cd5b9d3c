package pipelines

import (
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
)

// operation is what a command asks Nix to do, independent of the order of its flags.
type operation string

const (
	evaluate       operation = "evaluate"
	planBuild      operation = "plan a build"
	realise        operation = "realise"
	buildAgain     operation = "build again"
	buildProbe     operation = "build the probe"
	readFile       operation = "read a file of the store"
	findInvalid    operation = "find invalid paths"
	addFile        operation = "add a file"
	showDerivation operation = "show derivations"
	showPaths      operation = "show paths"
	findOutputs    operation = "find all derivations and outputs below"
	findReferrers  operation = "find all referrers"
	findClosure    operation = "find the closure"
	findReferences operation = "find references"
	verifyPaths    operation = "verify paths"
	importPaths    operation = "import paths"
	protectInputs  operation = "protect inputs"
	exportPaths    operation = "export derivations"
	unknown        operation = "unknown"
)

// asked is an operation with its files.
type asked struct {
	operation
	files []string
}

// askedBy returns the operation of a command.
func askedBy(c engine.Command) asked {
	a := asked{operation: unknown}
	for _, arg := range c.Args {
		if strings.HasPrefix(arg, "/") {
			a.files = append(a.files, arg)
		}
	}
	has := func(words ...string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(c.Args, w) })
	}
	for _, known := range []struct {
		program string
		operation
		words []string // if two fit, the first
	}{
		{"nix", evaluate, []string{"eval"}},
		{"nix", readFile, []string{"store", "cat"}},
		{"nix", showDerivation, []string{"show-derivation"}},
		{"nix", showDerivation, []string{"derivation", "show"}},
		{"nix", showPaths, []string{"path-info"}},
		{"nix-build", buildProbe, nil},
		{"nix-store", planBuild, []string{"--realise", "--dry-run"}},
		{"nix-store", buildAgain, []string{"--realise", "--check"}},
		{"nix-store", realise, []string{"--realise"}},
		{"nix-store", findInvalid, []string{"--check-validity", "--print-invalid"}},
		{"nix-store", addFile, []string{"--add"}},
		{"nix-store", verifyPaths, []string{"--verify-path"}},
		{"nix-store", findOutputs, []string{"--query", "--requisites", "--include-outputs"}},
		{"nix-store", findClosure, []string{"--query", "--requisites"}},
		{"nix-store", findReferrers, []string{"--query", "--referrers-closure"}},
		{"nix-store", findReferences, []string{"--query", "--references"}},
		{"sh", protectInputs, []string{outputsScript}},
		{"sh", exportPaths, []string{exportScript}},
	} {
		if c.Program == known.program && has(known.words...) {
			a.operation = known.operation
			return a
		}
	}
	if c.Program == "sh" && strings.Contains(c.Args[1], "nix-store --import") {
		a.operation = importPaths
	}
	return a
}

// ran returns how many commands asked for an operation.
func (f *fakeEngine) ran(o operation) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.asked {
		if a.operation == o {
			n++
		}
	}
	return n
}

// ranOn reports whether a command asked for an operation on exactly these files.
func (f *fakeEngine) ranOn(o operation, files ...string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.asked, func(a asked) bool { return a.operation == o && slices.Equal(a.files, files) })
}
