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

const reproduceManual = `Build again here what a manifest says was built, and compare package by package.

MANIFEST is a file as a run leaves it in OUT/manifest.json, or the directory OUT. Source, lock, inputs, overrides,
caches, settings and image are taken from it; the engine is whichever there is. Every package is built here, also where
a cache or the store has it. Then derivations, output paths, NAR hashes and what the checks of the contract found are
compared:

  PASS              the same derivation, and the same bits
  SAME FAILURE      it failed in the run of the manifest, and fails here in the same way: the same derivation, phase and
                    exit code; or a second build differed there, and the bits differ here
  OTHER DERIVATION  the first input, option or attribute that differs is shown; it needs what is beside the manifest
  OTHER CONTENTS    the same derivation has given other bits: which files differ is shown, and how
  OTHER OUTCOME     it failed on one side alone, or in another way
  FAILED            it could not be built here, for a reason that is not the package's own
  UNKNOWN           the manifest does not say, or nothing was built; this never counts as a pass

A manifest is believed as far as it goes without harm: caches, keys and an image that are not this program's own are
used only where they are on the command line as well, or with --trust. A directory that the run has put in an input's
place is named by --override-input, and has to have the same NAR hash.

The manifest of a failed run will do as well as another: only what it had come to is compared.

All PASS or SAME FAILURE, and each check the same: exit code 0. A difference: 3. A package that failed, or of which nothing can be said: 1.`

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
		Short: "Build again here what a manifest says was built, and compare",
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
	s.StringVar(&f.source, "source", "", "flake that has the same tree, where the manifest's own reference leads nowhere")
	s.StringArrayVar(&f.overrides, "override-input", nil, "INPUT=DIR: the directory that has the tree which the run has put in an input's place; repeatable")
	s.StringVar(&f.imageText, "image", "", "Nix image in place of the manifest's: a reference pinned by digest, or an archive")
	s.StringArrayVar(&f.substituters, "substituter", nil, "cache that may be used where the manifest names it; repeatable (default: the project's)")
	s.StringArrayVar(&f.keys, "trusted-key", nil, "public key that may be trusted where the manifest names it; repeatable (default: the project's)")
	s.BoolVar(&f.trust, "trust", false, "believe the manifest's caches, keys and image: they can replace anything that is fetched")
	s.StringVar(&f.terms, "contract-file", "", "the flake's promises, where the run was checked against others than the project's")
	s.StringVar(&f.out, "out", "", "directory for the results of this run (default: reproduced/RUN)")
	s.StringVar(&f.memlock, "memlock", "", "memory that the tests lock, such as 256M, in place of the project's")
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

// buildAgain runs the story for what the manifest names.
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
