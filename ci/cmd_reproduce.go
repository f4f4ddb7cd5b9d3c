package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/reproduce"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// reproduceCommand builds again what a manifest says, and compares.
var reproduceCommand = command{name: "reproduce", exports: true, ignoresCaches: true}

const reproduceManual = `Build the packages of a manifest again on this machine, and compare package by package.

MANIFEST is the file OUT/manifest.json of a run, or the directory OUT. The source, lock, inputs, overrides, caches,
settings and image are those of the manifest; the engine may differ. Every package is built, even if a cache or the
store has it. Then derivations, output paths, NAR hashes and the results of the contract's checks are compared:

  PASS              the same derivation, and the same bits
  SAME FAILURE      it failed in the run of the manifest, and fails here in the same way: the same derivation, phase and
                    exit code; or a second build differed there, and the bits differ here
  OTHER DERIVATION  shows the first input, option or attribute that differs; needs the files beside the manifest
  OTHER CONTENTS    the same derivation, and different bits; shows which files differ, and how
  OTHER OUTCOME     it failed on one side only, or in different ways
  FAILED            it could not be built here, for a reason outside of the package
  UNKNOWN           the manifest has no result, or nothing was built; never a pass

A manifest may come from somebody else. Caches, keys and images that are not this program's own are used only if they
are also on the command line, or with --trust. If the run replaced an input by a directory, --override-input names
that directory; it has to have the same NAR hash.

The manifest of a failed run works too: the results that it has are compared.

Exit code 0: all PASS or SAME FAILURE, with the same results of checks. 3: a difference. 1: a package is FAILED or
UNKNOWN.`

// reproduceFlags are the command line of reproduce.
type reproduceFlags struct {
	flags
	source string
	trust  bool
}

func newReproduce(sys process) *cobra.Command {
	var f reproduceFlags
	c := &cobra.Command{
		Use:   reproduceCommand.name + " MANIFEST",
		Short: "Build the packages of a manifest again, and compare",
		Long:  reproduceManual,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("%s: %d manifests given, want one", c.CommandPath(), len(args)))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, sys, args[0]) },
	}
	f.registerReproduce(c)
	return c
}

// registerReproduce adds the flags. Those of release that a manifest answers are not among them.
func (f *reproduceFlags) registerReproduce(c *cobra.Command) {
	s := c.Flags()
	s.SortFlags = false
	s.StringArrayVar(&f.systems, "system", nil, "system to build for; repeatable (default: all of the manifest)")
	f.engineOptions.register(s)
	s.StringVar(&f.source, "source", "", "flake with the same tree, if the manifest's reference does not work")
	s.StringArrayVar(&f.overrides, "override-input", nil, "INPUT=DIR: directory with the tree that replaced the input in the run; repeatable")
	s.StringVar(&f.imageText, "image", "", "Nix image instead of the manifest's: a reference pinned by digest, or an archive")
	s.StringArrayVar(&f.substituters, "substituter", nil, "cache that may be used if the manifest names it; repeatable (default: the project's)")
	s.StringArrayVar(&f.keys, "trusted-key", nil, "public key that may be trusted if the manifest names it; repeatable (default: the project's)")
	s.BoolVar(&f.trust, "trust", false, "trust the manifest's caches, keys and image: they can replace anything that is fetched")
	s.StringVar(&f.terms, "contract-file", "", "the contract of the run, if it was not the project's")
	s.StringVar(&f.out, "out", "", "directory for the results of this run (default: reproduced/RUN)")
	s.StringVar(&f.memlock, "memlock", "", "memory that the tests lock, such as 256M, instead of the project's")
	s.BoolVar(&f.json, "json", false, "the result as JSON on standard output")
	s.BoolVarP(&f.verbose, "verbose", "v", false, "each line of each build")
}

func (f *reproduceFlags) run(c *cobra.Command, sys process, file string) error {
	ctx := c.Context()
	if name := filepath.Join(file, "manifest.json"); isFile(name) {
		file = name
	}
	m, err := run.ReadManifest(file)
	if err == nil {
		err = checkUnedited(ctx, file, m)
	}
	if err != nil {
		return err
	}
	o, err := f.reproduceOptions(c, sys, file, m)
	if err != nil {
		return err
	}
	ours, err := f.buildAgain(ctx, sys, o, m)
	if err != nil {
		if f.out == "" {
			discardUnused(o.out)
		}
		return err
	}
	return f.compareWith(ctx, sys, o, file, m, ours)
}

// checkUnedited compares a manifest with the hash that the provenance of its run states of it. Without provenance, or
// with one of other runs alone, there is nothing to compare with.
func checkUnedited(ctx context.Context, file string, m *run.Manifest) error {
	attestations, err := provenance.Read(regular.AnyFile(filepath.Join(filepath.Dir(file), provenance.FileName)))
	if err != nil {
		return nil // it is for verify to say what is wrong with it
	}
	for _, a := range attestations {
		claim, err := a.Claim()
		if err != nil || claim.Started != m.Started || claim.Finished != m.Finished {
			continue
		}
		stated, ok := claim.Byproducts["manifest.json"]
		f, err := provenance.HashFile(ctx, regular.AnyDir(filepath.Dir(file)), filepath.Base(file), "")
		if ok && err == nil && !f.Hash.Equal(stated) {
			return hint.Wrap(fmt.Errorf("read manifest %s: it was edited: its hash is %s, and the provenance of its run states %s", file, f.Hash.SRI(), stated.SRI()),
				"take it from the run again; verify tells who signed the provenance")
		}
	}
	return nil
}

// buildAgain runs the pipeline for what the manifest names.
func (f *reproduceFlags) buildAgain(ctx context.Context, sys process, o options, m *run.Manifest) (*run.Manifest, error) {
	o.json = false // the result is on standard output, not the events
	var ours *run.Manifest
	err := withRelease(ctx, sys, reproduceCommand, o, func(r *pipelines.Release) (err error) {
		r.Source = recordedSource{Source: r.Source, want: m.Source, inputs: m.Inputs}
		r.CacheKeys = nil // what a cache says of itself today is no part of the run
		r.History = nil   // nor is what a repository has for a history
		ours, err = r.Run(ctx)
		if ours != nil && ctx.Err() == nil && explained(ours) && pipelines.OnlyResults(err) {
			return nil // what has failed is compared with what failed there
		}
		return err
	})
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	return ours, err
}

// discardUnused removes the directory that a run has made for its results, if there are none, not even a log: a user who
// is refused ten times does not find ten directories.
func discardUnused(out *regular.Dir) {
	for _, result := range []string{"manifest.json", "logs"} {
		if _, err := out.Stat(result); !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	cached, _ := out.Sub("cache").List()
	if slices.ContainsFunc(cached, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".narinfo" }) {
		return
	}
	parent := filepath.Dir(out.Name())
	_ = regular.NewDir(parent).RemoveAll(filepath.Base(out.Name()))
	_ = regular.NewDir(filepath.Dir(parent)).Remove(filepath.Base(parent)) // unless there are others
}

// explained says that every package has come to an end of its own, so that the run's error says nothing more.
func explained(m *run.Manifest) bool {
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			if p.Failure == nil && (p.Derivation == "" || p.Verdict == run.Failed) {
				return false
			}
		}
	}
	return true
}

// compareWith compares both runs, and prints the result.
func (f *reproduceFlags) compareWith(ctx context.Context, sys process, o options, file string, theirs, ours *run.Manifest) error {
	a, err := originalRun(sys, o, file, theirs)
	if err != nil {
		return err
	}
	b, err := rebuiltRun(sys, o.out, ours)
	if err != nil {
		return err
	}
	result, err := reproduce.Compare(ctx, a, b)
	if err != nil {
		return err
	}
	if f.json {
		err = writeJSON(sys.stdout, result)
	} else {
		err = result.WriteText(sys.stdout)
	}
	return errors.Join(err, result.Err())
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
