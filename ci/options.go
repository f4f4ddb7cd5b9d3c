package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// flags is the command line as text. options is its meaning.
type flags struct {
	ref                 string
	systems, packages   []string
	out                 string
	keepGoing, failFast bool
	overrides           []string
	substituters, keys  []string
	cache, memlock      string
	contract, terms     string
	rebuild             string
	rebuildOn           []string
	rebuildGiven        func() bool // says whether --rebuild was given; nil where there is no such flag
	provenanceKey       string
	strict              bool
	homeManager         string
	publish             publishOptions
	engineOptions
	outputOptions
}

// register adds the flags of all commands that run a pipeline.
func (f *flags) register(c *cobra.Command) {
	s := c.Flags()
	s.SortFlags = false
	s.StringVar(&f.ref, "ref", "", "tag, branch or commit of the flake")
	s.StringArrayVar(&f.systems, "system", nil, "system to build for; repeatable (default: all)")
	s.StringArrayVar(&f.packages, "package", nil, "package to build; repeatable (default: the project's)")
	f.engineOptions.register(s)
	s.StringVar(&f.imageText, "image", dagger.DefaultImage, "Nix image: a reference pinned by digest, or an archive or root file system tarball")
	s.StringVar(&f.out, "out", "out", "directory for the binary cache, the manifest and the logs")
	limitVar(s, &f.stall, "stall-timeout", 5*time.Minute, "show the last lines of a build that prints nothing for this long")
	s.BoolVar(&f.keepGoing, "keep-going", true, "continue with the other systems when one fails")
	s.BoolVar(&f.failFast, "fail-fast", false, "stop the other systems when one fails")
	s.StringArrayVar(&f.overrides, "override-input", nil, "INPUT=FLAKE replaces an input by another flake; repeatable")
	s.StringArrayVar(&f.substituters, "substituter", nil, "cache that Nix fetches from, instead of the project's; repeatable; \"none\" for none")
	s.StringArrayVar(&f.keys, "trusted-key", nil, "public key of a substituter, instead of the project's; repeatable")
	s.StringVar(&f.cache, "served-by", "", "cache whose outputs are not built again, instead of the project's; \"none\" for none")
	s.StringVar(&f.memlock, "memlock", "", "memory that the tests lock, such as 256M, instead of the project's")
	s.StringVar(&f.contract, "contract", enforce, "what an unsatisfied requirement of the flake does: enforce (exit code 4), warn or off")
	s.StringVar(&f.terms, "contract-file", "", "file with the requirements of the flake, instead of the project's")
	s.BoolVar(&f.strict, "strict", false, "treat warnings of the contract as failures")
	s.StringVar(&f.homeManager, "home-manager", "", "flake of Home Manager that evaluates the module (default: the checks declare its options)")
	s.BoolVarP(&f.verbose, "verbose", "v", false, "each line of each build")
	f.outputOptions.register(s)
}

// options is a parsed command line.
type options struct {
	project project.Project
	ref     string
	cells   []matrix.Cell
	engineOptions
	outputOptions
	out      *regular.Dir
	outGiven bool
	// otherResults are directories that hold results of earlier runs, beside out.
	otherResults []string
	run          string // the ID of the run; empty for a new one
	failFast     bool
	overrides    []override
	contract     pipelines.ContractPolicy
	publish      publishOptions
	rebuild      pipelines.Rebuilding
	// rebuildOn is the engine of second builds; empty for that of the first build.
	rebuildOn engineChoice
	// provenanceKey signs the provenance; nil for none.
	provenanceKey *provenance.SecretKey
	given         []givenFlag // repeated in hints
}

// override is --override-input INPUT=FLAKE.
type override struct {
	input, flake string
	narHash      string // the required NAR hash; empty for any
}

// options reads the flags and the one argument of a command.
func (f *flags) options(c *cobra.Command, args []string) (options, error) {
	o := options{
		project: defaultProject, ref: f.ref,
		out: regular.NewDir(f.out), outGiven: c.Flags().Changed("out"),
		failFast: f.failFast || !f.keepGoing, outputOptions: f.outputOptions, publish: f.publish, given: given(c),
	}
	if len(args) > 0 && args[0] == exampleFlake {
		o.project = exampleProject
	} else if len(args) > 0 {
		o.project.Flake = args[0]
	}
	for _, parse := range []func(*options) error{f.parseProject, f.parseCells, f.parseEngine, f.parseOverrides, f.parseContract, f.parseRebuild, f.parseProvenanceKey} {
		if err := parse(&o); err != nil {
			return o, usage(err)
		}
	}
	if err := o.publish.check(); err != nil {
		return o, usage(err)
	}
	if f.failFast && c.Flags().Changed("keep-going") && f.keepGoing {
		return o, usage(errors.New("parse flags: --keep-going and --fail-fast exclude each other"))
	}
	return o, nil
}

// none is the value that empties a list or a URL.
const none = "none"

func (f *flags) parseProject(o *options) error {
	if len(f.substituters) > 0 {
		o.project.Substituters = without(f.substituters, none)
	}
	if len(f.keys) > 0 {
		o.project.TrustedKeys = without(f.keys, none)
	}
	switch f.cache {
	case "":
	case none:
		o.project.ServedBy = ""
	default:
		o.project.ServedBy = f.cache
	}
	if f.memlock == "" {
		return nil
	}
	n, err := project.ParseSize(f.memlock)
	o.project.Memlock = n
	return err
}

func (f *flags) parseCells(o *options) error {
	systems, packages := matrix.Systems(), o.project.Packages
	if len(f.systems) > 0 {
		systems = nil
	}
	for _, s := range f.systems {
		system, err := matrix.ParseSystem(s)
		if err != nil {
			return err
		}
		systems = append(systems, system)
	}
	if len(f.packages) > 0 {
		packages = nil
	}
	for _, s := range f.packages {
		p, err := matrix.ParsePackage(s)
		if err != nil {
			return err
		}
		packages = append(packages, p)
	}
	o.cells = matrix.Expand(systems, packages)
	return nil
}

func (f *flags) parseEngine(o *options) error {
	err := f.engineOptions.parse()
	o.engineOptions = f.engineOptions
	return err
}

func (f *flags) parseOverrides(o *options) error {
	for _, s := range f.overrides {
		input, flake, ok := strings.Cut(s, "=")
		if !ok || input == "" || flake == "" {
			return hint.Wrap(fmt.Errorf("parse --override-input %q: not of the form INPUT=FLAKE", s), "for example --override-input nixpkgs=./nixpkgs")
		}
		o.overrides = append(o.overrides, override{input: input, flake: flake})
	}
	return nil
}

// The values of --contract.
const (
	enforce = "enforce"
	warn    = "warn"
	off     = "off"
)

// parseContract chooses the contract. It does not apply to packages of the command line that are not the project's.
func (f *flags) parseContract(o *options) (err error) {
	o.contract = pipelines.ContractPolicy{Contract: o.project.Contract, WarnOnly: f.contract == warn, HomeManager: f.homeManager}
	switch {
	case !slices.Contains([]string{enforce, warn, off}, f.contract):
		return fmt.Errorf("parse --contract %q: want %s, %s or %s", f.contract, enforce, warn, off)
	case f.contract == off:
		o.contract.Contract, o.contract.Without = nil, "--contract off"
	case f.terms != "":
		o.contract.Contract, err = contract.Load(f.terms)
	case len(f.packages) > 0 && !sameSet(f.packages, o.project.Packages):
		o.contract.Contract, o.contract.Without = nil, "the contract is about other packages; --contract-file FILE names another contract"
	}
	if o.contract.Contract != nil && f.strict {
		o.contract.Contract = withStrict(*o.contract.Contract)
	}
	return err
}

// sameSet reports whether both have the same packages, in any order.
func sameSet(given []string, packages []matrix.Package) bool {
	set := map[matrix.Package]bool{}
	for _, p := range given {
		set[matrix.Package(p)] = true
	}
	return len(set) == len(packages) && !slices.ContainsFunc(packages, func(p matrix.Package) bool { return !set[p] })
}

func without(list []string, word string) []string {
	var kept []string
	for _, s := range list {
		if s != word {
			kept = append(kept, s)
		}
	}
	return kept
}
