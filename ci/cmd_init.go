package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/scaffold"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// initCommand builds what a first contract needs, and exports nothing. It leaves the manifest of the last release alone,
// and uses no settings of the flake.
var initCommand = command{name: "init", manifest: "init.json", ignoresCaches: true, recorded: true}

const initManual = `Write the first files of a flake, from what it has:

  ` + project.FileName + `                      the settings of a release
  ` + scaffold.ContractFile + `             a contract that the flake satisfies
  ` + scaffold.WorkflowFile + `   a workflow for GitHub: pull requests are built, main and tags released

FLAKE is a directory; the default is the current one. A file that exists is never changed. The packages are built for one
system, because a contract has their programs and units; with --no-contract, the flake is only evaluated.

On a terminal, init asks where to publish to, and which files to write. With --yes, or elsewhere, it takes the defaults and
the flags: nothing is published. The written files go to standard output, one on each line.`

// initOptions is the command line of init.
type initOptions struct {
	options
	yes                    bool
	noContract, noWorkflow bool
	cachix, key, secret    string
	existing               *project.Project // settings of the flake's file; the run itself does not use them
}

func newInit(process process) *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   initCommand.name + " [FLAKE]",
		Short: "Write settings, a first contract and a workflow for GitHub, from what a flake has",
		Long:  initManual,
		Args:  arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			if err := o.parse(c.Flags(), args); err != nil {
				return err
			}
			if o.cachix == "" && o.key+o.secret != "" {
				return usage(errors.New("parse flags: --public-key and --secret-env are about a cache: --cachix NAME"))
			}
			if err := o.settle(o.project); err != nil {
				return err
			}
			return runInit(c.Context(), process, o)
		},
	}
	s := c.Flags()
	s.SortFlags = false
	s.BoolVarP(&o.yes, "yes", "y", false, "ask nothing: take the defaults")
	s.Var(valueOf(&o.cachix, "", cachix.ParseName), "cachix", "name of the Cachix cache to publish to (default: none)")
	s.Var(valueOf(&o.key, "", parsePublicKey), "public-key", "public key of that cache")
	s.Var(valueOf(&o.secret, "", project.ParseSecret), "secret-env", "variable, and secret on GitHub, with its auth token or signing key (default: "+scaffold.DefaultSecret+")")
	s.BoolVar(&o.noContract, "no-contract", false, "write no contract, and build nothing")
	s.BoolVar(&o.noWorkflow, "no-workflow", false, "write no workflow for GitHub")
	o.selection.register(s)
	o.engineOptions.register(s)
	o.resultOptions.register(s)
	o.projectOptions.register(s)
	s.BoolVarP(&o.verbose, "verbose", "v", false, "each line of each build")
	return c
}

func parsePublicKey(text string) (string, error) {
	_, err := binarycache.ParsePublicKeys([]string{text})
	return text, err
}

func runInit(ctx context.Context, process process, o initOptions) error {
	if err := checkDirectory("init", o.project.Flake); err != nil {
		return err
	}
	files, err := o.missing(process)
	if err == nil && files.any() && !o.yes && process.canAsk() {
		files, err = o.ask(ctx, process, files)
	}
	if err != nil || !files.any() {
		return err
	}
	var drafted pipelines.Drafted
	options := o.nativeFirst()
	err = withRelease(ctx, process, initCommand, &options, func(r *pipelines.Release) (err error) {
		drafted, err = (&pipelines.Draft{Job: r.Job, WithoutContract: !files.contract}).Run(ctx)
		return err
	})
	if err != nil {
		return err
	}
	texts, err := o.texts(files, drafted)
	if err != nil {
		return err
	}
	return o.write(process, texts)
}

// nativeFirst returns the options with this machine's system first: it needs no emulator.
func (o initOptions) nativeFirst() options {
	native, err := setup.NativeSystem()
	if i := slices.IndexFunc(o.cells, func(c matrix.Cell) bool { return c.System == native }); err == nil && i > 0 {
		first := o.cells[i]
		o.cells = slices.Insert(slices.Delete(slices.Clone(o.cells), i, i+1), 0, first)
	}
	return o.options
}
