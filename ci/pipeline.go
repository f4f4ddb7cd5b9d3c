package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// newPipeline returns a command that runs the whole pipeline: release, warm or build.
func newPipeline(sys process, cmd command, short string) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   cmd.name + " [FLAKE]",
		Short: short,
		Args:  arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.parse(c.Flags(), args); err != nil {
				return err
			}
			if cmd.publishes {
				sys = sys.maskSecret(o.publish.secret)
			}
			return runPipeline(c.Context(), sys, cmd, o)
		},
	}
	o.register(c.Flags())
	o.rebuild.register(c.Flags(), cmd.rebuild)
	c.Flags().Var(valueOf(&o.statements.Key, "", readProvenanceKey), "provenance-key", "file with the secret key that signs the provenance, as nix-store --generate-binary-cache-key makes it")
	if cmd.publishes {
		o.publish.registerRun(c)
	} else {
		c.Flags().Var(valueOf(&o.export, exportAll, oneOf(exportAll, exportOwn)), "export", "all: whole closures; own: without what a trusted key has signed, for publish on another machine")
	}
	return c
}

// runPipeline runs the pipeline and shows its results.
func runPipeline(ctx context.Context, sys process, cmd command, o options) error {
	reporter := newReporter(sys, o.outputOptions)
	r, cleanup, err := prepare(ctx, sys, cmd, &o, reporter)
	if err != nil {
		return errors.Join(err, reporter.Close())
	}
	defer cleanup()
	if r.Refused == nil {
		if err := reportLastRelease(ctx, sys, o.outputOptions, o.pinnedRelease(), reporter); err != nil {
			return errors.Join(err, reporter.Close())
		}
	}
	o.statements.Facts = provenance.Facts{Builder: sys.job().Workflow(), Invocation: sys.job().RunPage()}
	r.Results.Statements = &o.statements
	manifest, err := r.Run(ctx)
	err = errors.Join(err, reporter.Close())
	if manifest == nil {
		return err
	}
	if !o.json {
		printOutputs(sys.stdout, manifest)
	}
	return repeatHint(ctx, err, o, manifest)
}

// printOutputs writes all output paths, one on each line, for the next command of a pipe.
func printOutputs(w io.Writer, m *run.Manifest) {
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			if p.Verdict == run.Failed {
				continue
			}
			for _, o := range p.Outputs {
				fmt.Fprintln(w, o.Path)
			}
		}
	}
}

// maxKey is more than any key: one has about a hundred bytes.
const maxKey = 64 << 10

// readProvenanceKey reads the key that statements are signed with.
func readProvenanceKey(file string) (*provenance.SecretKey, error) {
	text, err := regular.Read(file, maxKey)
	if err != nil {
		return nil, err
	}
	return provenance.ParseSecretKey(text)
}
