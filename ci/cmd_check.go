package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// checkCommand builds and checks, and exports nothing. It leaves the manifest of the last release alone.
var checkCommand = command{name: "check", manifest: "check.json", ignoresCaches: true}

const checkManual = `Check a flake against its contract, with what is built. Nothing is exported.

A contract is a TOML file with requirements of the outputs, packages, units, module, hashes, lock and settings of a flake.
The contract of the default flake is built in; the example has to satisfy it without a warning. --contract-file names
another contract. The command init writes a first one. A list in a contract is a minimum.

Each check ends as PASS, FAIL, WARN or SKIP, with what was wanted, what was found, and where. A planned check that did
not run is a failure. OUT/check.json has all checks. A failure ends with exit code 4. release, warm and build
run the same checks, those of files before anything is built.

--fix corrects hashes of git dependencies: it copies missing ones from other files, builds, and replaces wrong hashes by
those of what was fetched, in every Nix file of the flake.`

func newCheck(process process) *cobra.Command {
	var o options
	var fix bool
	c := &cobra.Command{
		Use:   checkCommand.name + " [FLAKE]",
		Short: "Check a flake against its contract, with what is built",
		Long:  checkManual,
		Args:  arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.parse(c.Flags(), args); err != nil {
				return err
			}
			if fix {
				return runFix(c.Context(), process, o)
			}
			manifest, err := runCheck(c.Context(), process, o)
			return repeatHint(c.Context(), err, o, manifest)
		},
	}
	o.register(c.Flags())
	c.Flags().BoolVar(&fix, "fix", false, "correct wrong and missing hashes in FLAKE, a directory, as far as files or a build show them")
	return c
}

func runCheck(ctx context.Context, process process, o options) (manifest *run.Manifest, err error) {
	err = withRelease(ctx, process, checkCommand, &o, func(r *pipelines.Release) (err error) {
		manifest, err = r.Run(ctx)
		return err
	})
	return manifest, err
}

// runFix corrects wrong hashes, and checks the flake again until it finds no more: a build shows only the hashes of those
// fetches that it reached.
func runFix(ctx context.Context, process process, o options) error {
	flake := o.project.Flake
	if err := checkDirectory("fix", flake); err != nil {
		return err
	}
	settled := o // a copy: each run reads the settings of its own tree
	if err := withRelease(ctx, process, checkCommand, &settled, func(*pipelines.Release) error { return nil }); err != nil {
		return err
	}
	if c := settled.contract.Contract; c != nil {
		changed, err := c.FixStatic(flake)
		if err = errors.Join(err, printChanges(process.stderr, flake, changed)); err != nil {
			return err
		}
	}
	for {
		manifest, err := runCheck(ctx, process, o)
		var mismatches []contract.Mismatch
		if manifest != nil {
			for _, cell := range manifest.Cells {
				mismatches = append(mismatches, cell.Mismatches...)
			}
		}
		if len(mismatches) == 0 || ctx.Err() != nil {
			return err
		}
		changed, fixErr := contract.Fix(flake, mismatches)
		if fixErr != nil || len(changed) == 0 {
			return errors.Join(err, fixErr)
		}
		if err := printChanges(process.stderr, flake, changed); err != nil {
			return err
		}
	}
}

// checkDirectory returns an error if a flake whose files a command changes is not a directory.
func checkDirectory(verb, flake string) error {
	if info, err := os.Stat(flake); flake != exampleFlake && err == nil && info.IsDir() {
		return nil
	}
	return usage(hint.Wrap(fmt.Errorf("%s flake %s: not a directory", verb, flake), "clone it, and name the directory"))
}

func printChanges(w io.Writer, flake string, changed []contract.Position) error {
	for _, p := range changed {
		if _, err := fmt.Fprintf(w, "fixed %s: %s\n", filepath.Join(flake, p.String()), p.Text); err != nil {
			return err
		}
	}
	return nil
}
