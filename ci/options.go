package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// options is the command line of a command that runs the pipeline, in groups of flags. Each part of the program gets the
// group that it needs.
type options struct {
	// project is FLAKE with its settings, where flags override them. cells are its packages on the systems.
	project project.Project
	cells   []matrix.Cell

	selection
	sourceOptions
	projectOptions
	engineOptions
	resultOptions
	outputOptions
	contract contractOptions
	rebuild  rebuildOptions
	publish  publishOptions

	statements          pipelines.Statements
	keepGoing, failFast bool
	given               []givenFlag // repeated in hints
	command             string      // in the hint about consent
	acceptConfig        bool
	leftOut             []string // settings of the flake without consent
}

// register adds the flags of all commands that run the pipeline.
func (o *options) register(s *pflag.FlagSet) {
	s.SortFlags = false
	o.sourceOptions.register(s)
	o.selection.register(s)
	o.engineOptions.register(s)
	o.resultOptions.register(s)
	s.BoolVar(&o.keepGoing, "keep-going", true, "continue with the other systems when one fails")
	s.BoolVar(&o.failFast, "fail-fast", false, "stop the other systems when one fails")
	o.projectOptions.register(s)
	o.contract.register(s)
	s.BoolVar(&o.acceptConfig, "accept-config", false, "accept the settings of the flake's nix-release.toml that extend trust")
	s.BoolVarP(&o.verbose, "verbose", "v", false, "each line of each build")
	o.outputOptions.register(s)
}

// parse reads FLAKE, and checks the flags. The settings of the flake are in its tree: see [consent.configure].
func (o *options) parse(s *pflag.FlagSet, args []string) error {
	o.project, o.outGiven, o.chosen, o.given = defaultProject, s.Changed("out"), s.Changed("system"), given(s)
	if len(args) > 0 {
		o.project = projectOf(args[0])
	}
	if o.failFast && o.keepGoing && s.Changed("keep-going") {
		return usage(errors.New("parse flags: --keep-going and --fail-fast exclude each other"))
	}
	o.failFast = o.failFast || !o.keepGoing
	flags := *o // without the settings, which may lack consent
	return flags.settle(o.project)
}

// pinnedRelease returns where the last release is pinned.
func (o *options) pinnedRelease() pinnedRelease {
	return pinnedRelease{o.publish.cacheName(o.project), o.publish.url, o.project.Substituters, o.cells}
}

// selection is which packages are built on which systems.
type selection struct {
	systems  []matrix.System
	packages []matrix.Package // empty for the project's
	// chosen is set if the systems are those of the command line, or of this machine, and not the project's.
	chosen bool
	// everySystem is set if nothing names the systems: one that the flake has no packages for is left out.
	everySystem bool
}

func (o *selection) register(s *pflag.FlagSet) {
	o.registerSystems(s, "system to build for, such as riscv64-linux; repeatable (default: x86_64-linux and aarch64-linux)")
	s.Var(listOf(&o.packages, matrix.ParsePackage), "package", "package to build; repeatable (default: the project's, or all of the flake)")
}

func (o *selection) registerSystems(s *pflag.FlagSet, usage string) {
	o.systems = matrix.DefaultSystems()
	s.Var(listOf(&o.systems, matrix.ParseSystem), "system", usage)
}

// cells returns a cell for each system. If no package was named, it has the project's.
func (o selection) cells(packages []matrix.Package) []matrix.Cell {
	if len(o.packages) > 0 {
		packages = o.packages
	}
	return matrix.Expand(o.systems, packages)
}

// none is the value that empties a list or a URL.
const none = "none"

// projectOptions are settings of the project that flags override.
type projectOptions struct {
	substituters, trustedKeys []string
	servedBy                  string
	memlock                   *project.Size
}

func (o *projectOptions) register(s *pflag.FlagSet) {
	s.StringArrayVar(&o.substituters, "substituter", nil, "cache that Nix fetches from, instead of the project's; repeatable; \"none\" for none")
	s.StringArrayVar(&o.trustedKeys, "trusted-key", nil, "public key of a substituter, instead of the project's; repeatable")
	s.StringVar(&o.servedBy, "served-by", "", "cache whose outputs are not built again, instead of the project's; \"none\" for none")
	o.registerMemlock(s)
}

func (o *projectOptions) registerMemlock(s *pflag.FlagSet) {
	s.Var(valueOf(&o.memlock, "", func(text string) (*project.Size, error) {
		size, err := project.ParseSize(text)
		return &size, err
	}), "memlock", "memory that the tests lock, such as 256M, instead of the project's")
}

func (o *projectOptions) apply(p *project.Project) {
	isNone := func(s string) bool { return s == none }
	if len(o.substituters) > 0 {
		p.Substituters = slices.DeleteFunc(slices.Clone(o.substituters), isNone)
	}
	if len(o.trustedKeys) > 0 {
		p.TrustedKeys = slices.DeleteFunc(slices.Clone(o.trustedKeys), isNone)
	}
	if o.servedBy == none {
		p.ServedBy = ""
	} else if o.servedBy != "" {
		p.ServedBy = o.servedBy
	}
	if o.memlock != nil {
		p.Memlock = *o.memlock
	}
}

// resultOptions say where the results of a run are.
type resultOptions struct {
	out      *regular.Dir
	outGiven bool
	// others are directories with results of earlier runs.
	others []string
	run    string // its ID; empty for a new one
	export string // which objects of the closures the binary cache gets; empty for all
}

// The values of --export.
const exportAll, exportOwn = "all", "own"

func (o *resultOptions) register(s *pflag.FlagSet) {
	s.Var(valueOf(&o.out, "out", parseDir), "out", "directory for the binary cache, the manifest and the logs")
}

func parseDir(name string) (*regular.Dir, error) { return regular.NewDir(name), nil }

// results returns the directories with results of this run and of known earlier runs.
func (o resultOptions) results() []string { return append(slices.Clone(o.others), o.out.Name()) }

// The values of --contract and --rebuild.
const enforce, warn, off = project.Enforce, project.Warn, project.Off

// contractOptions choose the contract, and what an unsatisfied requirement does.
type contractOptions struct {
	pipelines.ContractPolicy
	mode, file string
	strict     bool
}

func (o *contractOptions) register(s *pflag.FlagSet) {
	s.Var(valueOf(&o.mode, enforce, oneOf(enforce, warn, off)), "contract", "what an unsatisfied requirement of the flake does: enforce (exit code 4), warn or off")
	s.StringVar(&o.file, "contract-file", "", "file with the requirements of the flake, instead of the project's")
	s.BoolVar(&o.strict, "strict", false, "treat warnings of the contract as failures")
	s.StringVar(&o.HomeManager, "home-manager", "", "flake of Home Manager that evaluates the module (default: the checks declare its options)")
}

// parse chooses the contract. That of the project does not apply if the command line names other packages.
func (o *contractOptions) parse(p project.Project, packages []matrix.Package) (err error) {
	o.Contract, o.WarnOnly = p.Contract, o.mode == warn
	switch {
	case o.mode == off:
		o.Contract, o.Without = nil, "--contract off"
	case o.file != "":
		o.Contract, err = contract.Load(o.file)
	case p.Contract == nil:
		o.Without = "the flake has no contract; --contract-file FILE names one"
	case len(packages) > 0 && !sameSet(packages, p.Packages):
		o.Contract, o.Without = nil, "the contract is about other packages; --contract-file FILE names another contract"
	}
	if o.Contract != nil && o.strict {
		o.Contract = withStrict(*o.Contract)
	}
	return err
}

// sameSet reports whether both have the same packages, in any order.
func sameSet(a, b []matrix.Package) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

// sourceOptions say which tree of FLAKE is built, and which inputs are replaced.
type sourceOptions struct {
	ref       string
	overrides []override
}

func (o *sourceOptions) register(s *pflag.FlagSet) {
	s.StringVar(&o.ref, "ref", "", "tag, branch or commit of the flake")
	s.Var(listOf(&o.overrides, parseOverride), "override-input", "INPUT=FLAKE replaces an input by another flake; repeatable")
}

// override is a flake that replaces an input.
type override struct {
	input, flake string
	narHash      string // the required NAR hash; empty for any
}

func parseOverride(text string) (override, error) {
	input, flake, _ := strings.Cut(text, "=")
	if input == "" || flake == "" {
		return override{}, hint.Wrap(errors.New("not of the form INPUT=FLAKE"), "for example --override-input nixpkgs=./nixpkgs")
	}
	return override{input: input, flake: flake}, nil
}

// apart is the minimum time between two builds: times in zip files have a resolution of two seconds.
const apart = 2 * time.Second

// rebuildOptions say whether packages are built twice, where, and what a difference does.
type rebuildOptions struct {
	pipelines.Rebuilding
	mode string       // empty if the command has no second builds
	on   engineChoice // of second builds; the zero value for the engine of the first
}

// register adds --rebuild, which needs no value to be enforced.
func (o *rebuildOptions) register(s *pflag.FlagSet, preset string) {
	s.Var(valueOf(&o.mode, preset, oneOf(enforce, warn, off)), "rebuild", "build each package twice, and what a difference does: enforce (exit code 3), warn or off; if given, also build what a cache has")
	s.Lookup("rebuild").NoOptDefVal = enforce
	o.on.register(s, "rebuild-on", "engine of the second builds: dagger, host, or SYSTEM=URL of a Dagger engine; repeatable (default: that of the first)")
}

// parse takes whether --rebuild was given.
func (o *rebuildOptions) parse(given bool) error {
	o.Apart, o.WarnOnly = apart, o.mode == warn
	switch o.mode {
	case off:
		o.Without = "--rebuild=" + off
	case "":
		o.Without = "this command does not rebuild"
	default:
		// An explicit --rebuild also rebuilds substituted outputs. A release that has nothing to build ends at once.
		o.Fetched = given
	}
	switch on := o.on.texts; {
	case len(on) > 0 && o.Without != "":
		return hint.Wrap(fmt.Errorf("parse --rebuild-on %s: nothing is built a second time", on[0]), "add --rebuild")
	case o.on.kind == engineAuto:
		return errors.New("parse --rebuild-on auto: name an engine")
	}
	return nil
}

// elsewhere returns the engines of second builds, for the systems that have a separate one.
func (o rebuildOptions) elsewhere(cells []matrix.Cell, first *engines) map[matrix.System]pipelines.Engines {
	engines := map[matrix.System]pipelines.Engines{}
	for _, cell := range cells {
		if o.on.kind != "" || o.on.native[cell.System] != "" {
			engines[cell.System] = newEngines(o.on, first.host, first.container)
		}
	}
	return engines
}
