package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// commandLine returns a command of this program that is safe to paste into a shell.
func commandLine(args ...string) string {
	line := hint.Program
	for _, arg := range args {
		line += " " + quote(arg)
	}
	return line
}

// quote makes an argument safe to paste into a shell.
func quote(s string) string { return hint.Quote(s) }

// programAs returns how a user calls this program again who has called it by that path.
func programAs(path string) string {
	if goRun.MatchString(path) {
		return hint.Program
	}
	return quote(path)
}

// goRun matches the files that go run builds: in a temporary directory, or in Go's cache.
var goRun = regexp.MustCompile(`/go-build[^/]*/|/[0-9a-f]{64}-d/`)

// The flags that a hint repeats. The others choose how a run is shown.
var (
	// forBuild affect the result of a build, or where it is.
	forBuild = []string{
		"engine", "image", "builders", "override-input", "substituter", "trusted-key", "served-by", "memlock", "jobs", "timeout", "out",
		"contract", "contract-file", "strict", "home-manager",
	}
	// forRebuild also affect the second build.
	forRebuild = append(slices.Clone(forBuild), "rebuild-on")
	// forFix also choose the packages.
	forFix = append([]string{"system", "package"}, forBuild...)
)

// repeat returns those of the given flags that have one of the names, as arguments.
func (o options) repeat(names []string) []string {
	var args []string
	for _, f := range o.given {
		switch {
		case !slices.Contains(names, f.name):
		case f.value == "true" || f.value == "false" || f.name == "rebuild": // its value is optional
			args = append(args, "--"+f.name+"="+f.value)
		default:
			args = append(args, "--"+f.name, f.value)
		}
	}
	return args
}

// repeatHint adds the command that repeats a failure on another machine.
func repeatHint(ctx context.Context, err error, o options, m *run.Manifest) error {
	if err == nil || m == nil || ctx.Err() != nil && !timedOut(ctx) {
		return err
	}
	code := codeOf(err)
	if code == exitPublish {
		return err // nothing has to be built again
	}
	built := repeatFlake(o, m)
	args, names := []string{buildCommand.name, shownRef(built)}, forBuild
	broken := code == exitContract
	if broken {
		args[0] = checkCommand.name
	}
	if built == o.project.Flake && o.ref != "" {
		args = append(args, "--ref", o.ref)
	}
	cells, packages := failedParts(m)
	if !broken && o.rebuild.Without == "" && (code == exitDifferent || packages == nil) {
		args, names = append(args, "--rebuild"), forRebuild // a step after the first build failed
	}
	args = append(args, cells...)
	if !broken { // the contract is about all packages
		args = append(args, packages...)
	}
	if broken {
		err = hint.Wrap(err, "to get warnings only: --contract warn; if the flake has its own contract: --contract-file FILE")
	}
	return hint.Wrap(err, "to repeat it: %s", commandLine(append(args, o.repeat(names)...)...))
}

// failedParts returns the failed systems and packages as flags.
func failedParts(m *run.Manifest) (systems, packages []string) {
	seen := map[matrix.Package]bool{}
	for _, cell := range m.Cells {
		if cell.Verdict != run.Failed {
			continue
		}
		systems = append(systems, "--system", string(cell.System))
		for _, p := range cell.Packages {
			if p.Verdict == run.Failed && !seen[p.Package] {
				seen[p.Package] = true
				packages = append(packages, "--package", string(p.Package))
			}
		}
	}
	return systems, packages
}

// repeatFlake returns the reference of the tree that was built, with its commit if it has one.
func repeatFlake(o options, m *run.Manifest) string {
	if m.Source.Rev != "" && !strings.Contains(m.Source.URL, "file:") {
		return m.Source.URL
	}
	return o.project.Flake
}

// shownRef returns a flake reference for logs and hints: without credentials, and otherwise as it was given.
func shownRef(text string) string {
	redacted := nix.Redact(text)
	if ref, err := flake.ParseRef(text); err == nil && redacted != text {
		return ref.String() // it keeps the user of SSH
	}
	return redacted
}

// resumeCommand returns the command that publishes what a run left. The address of the cache and the secret are on the
// command line, and not in the journal: with a journal, its author could choose where the secret is sent.
func resumeCommand(out string, f publishOptions) string {
	args := []string{"push", "--resume", "--out", out}
	if f.cachix != "" {
		args = append(args, "--cachix", f.cachix)
	}
	if f.url != "" {
		args = append(args, "--cachix-url", f.url)
	}
	if f.secret != "" && f.secret != defaultSecret {
		args = append(args, "--secret-env", f.secret)
	}
	return commandLine(args...)
}

// fixHint returns the command that corrects wrong hashes in the flake, which has to be a directory.
func fixHint(o options) string {
	dir, where := o.project.Flake, ""
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir, where = "DIRECTORY", " in a clone"
	}
	return "or correct all of them" + where + ": " + commandLine(append([]string{checkCommand.name, "--fix", dir}, o.repeat(forFix)...)...)
}
