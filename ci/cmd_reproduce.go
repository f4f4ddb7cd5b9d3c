package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/reproduce"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// reproduceCommand builds again what a manifest lists, and compares.
var reproduceCommand = command{name: "reproduce", exports: true, ignoresCaches: true, recorded: true}

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

// reproduceOptions is the command line of reproduce. The manifest has the rest of what a run needs.
type reproduceOptions struct {
	systems []matrix.System // empty for all of the manifest
	engineOptions
	projectOptions
	overrides         []override
	source            string
	contractFile, out string
	trust             bool
	json, verbose     bool
}

func newReproduce(process process) *cobra.Command {
	var o reproduceOptions
	c := &cobra.Command{
		Use:   reproduceCommand.name + " MANIFEST",
		Short: "Build the packages of a manifest again, and compare",
		Long:  reproduceManual,
		Args:  arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c.Context(), process, args[0])
		},
	}
	o.register(c.Flags())
	return c
}

func (o *reproduceOptions) register(s *pflag.FlagSet) {
	s.SortFlags = false
	s.Var(listOf(&o.systems, matrix.ParseSystem), "system", "system to build for; repeatable (default: all of the manifest)")
	o.registerEngine(s)
	s.StringVar(&o.source, "source", "", "flake with the same tree, if the manifest's reference does not work")
	s.Var(listOf(&o.overrides, parseOverride), "override-input", "INPUT=DIR: directory with the tree that replaced the input in the run; repeatable")
	s.Var(valueOf(&o.image, "", dagger.ParseImage), "image", "Nix image instead of the manifest's: a reference pinned by digest, or an archive")
	s.StringArrayVar(&o.substituters, "substituter", nil, "cache that may be used if the manifest names it; repeatable (default: the project's)")
	s.StringArrayVar(&o.trustedKeys, "trusted-key", nil, "public key that may be trusted if the manifest names it; repeatable (default: the project's)")
	s.BoolVar(&o.trust, "trust", false, "trust the manifest's caches, keys and image: they can replace anything that is fetched")
	s.StringVar(&o.contractFile, "contract-file", "", "the contract of the run, if it was not the project's")
	s.StringVar(&o.out, "out", "", "directory for the results of this run (default: reproduced/RUN)")
	o.registerMemlock(s)
	s.BoolVar(&o.json, "json", false, "the result as JSON on standard output")
	s.BoolVarP(&o.verbose, "verbose", "v", false, "each line of each build")
}

func (o *reproduceOptions) run(ctx context.Context, process process, file string) error {
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
	again, err := o.runOptions(newRunID(process.clock()()), file, m)
	if err != nil {
		return err
	}
	rebuilt, err := buildAgain(ctx, process, again, m)
	if err != nil {
		if o.out == "" {
			removeUnused(again.out)
		}
		return err
	}
	return o.compareWith(ctx, process, again, comparison{file, m, rebuilt})
}

// checkUnedited compares a manifest with its hash in the provenance of its run, if there is one.
func checkUnedited(ctx context.Context, file string, m *run.Manifest) error {
	attestations, err := provenance.Read(regular.AnyFile(filepath.Join(filepath.Dir(file), provenance.FileName)))
	if err != nil {
		return nil // verify reports it
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
				"take it from the run again; verify shows who signed the provenance")
		}
	}
	return nil
}

// buildAgain runs the pipeline with the options of the manifest's run.
func buildAgain(ctx context.Context, process process, o options, m *run.Manifest) (*run.Manifest, error) {
	var rebuilt *run.Manifest
	err := withRelease(ctx, process, reproduceCommand, &o, func(r *pipelines.Release) (err error) {
		r.Source = recordedSource{Source: r.Source, want: m.Source, inputs: m.Inputs}
		r.CacheKeys, r.History = nil, nil // they depend on the present state of a cache and a repository
		rebuilt, err = r.Run(ctx)
		if rebuilt != nil && ctx.Err() == nil && explained(rebuilt) && pipelines.OnlyResults(err) {
			return nil // a failed package is compared with its result in the manifest
		}
		return err
	})
	return rebuilt, err
}

// removeUnused removes the directory that a run made for its results if it has no results and no logs, so that refused
// runs leave no directories.
func removeUnused(out *regular.Dir) {
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
	_ = regular.NewDir(filepath.Dir(parent)).Remove(filepath.Base(parent)) // fails if it has others
}

// explained reports whether every package has its own result, so that the run's error adds nothing.
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

// comparison is a manifest, its file, and the manifest of the run that repeated it.
type comparison struct {
	file              string
	original, rebuilt *run.Manifest
}

// compareWith compares both runs, and prints the result.
func (o *reproduceOptions) compareWith(ctx context.Context, process process, again options, c comparison) error {
	a, err := originalRun(process, again, c.file, c.original)
	if err != nil {
		return err
	}
	b, err := rebuiltRun(process, again.out, c.rebuilt)
	if err != nil {
		return err
	}
	result, err := reproduce.Compare(ctx, a, b)
	if err != nil {
		return err
	}
	if o.json {
		err = report.WriteJSON(process.stdout, result)
	} else {
		_, err = io.WriteString(process.stdout, result.String())
	}
	return errors.Join(err, result.Err())
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
