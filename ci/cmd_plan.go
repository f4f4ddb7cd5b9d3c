package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

var planCommand = command{name: "plan", readOnly: true, publishes: true}

func newPlan(sys process) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   planCommand.name + " [FLAKE]",
		Short: "Show what would be built or fetched, and what is there; change nothing",
		Args:  oneFlake,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(c, args)
			if err != nil {
				return err
			}
			return runPlan(c.Context(), sys.maskSecret(o.publish.secret), o)
		},
	}
	f.register(c)
	f.publish.registerCache(c)
	return c
}

func runPlan(ctx context.Context, sys process, o options) (err error) {
	var manifest *run.Manifest
	asJSON := o.json
	o.json = false // the plan itself is the JSON on standard output, not the events
	err = withRelease(ctx, sys, planCommand, o, func(r *pipelines.Release) (err error) {
		manifest, err = r.Preview(ctx)
		return err
	})
	if manifest == nil {
		return err
	}
	if asJSON {
		return errors.Join(err, writeJSON(sys.stdout, manifest))
	}
	return errors.Join(err, printPlan(sys.stdout, manifest))
}

// printPlan writes a line for each package, and one for what else its system needs.
func printPlan(w io.Writer, m *run.Manifest) error {
	t := newTable(w)
	t.row("SYSTEM", "PACKAGE", "PLAN", "OUTPUT")
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			what := string(p.Verdict)
			if p.ServedBy != "" {
				what += " by " + p.ServedBy
			}
			if p.Failure != nil {
				what += ": " + string(p.Failure.Kind)
			}
			path := ""
			if len(p.Outputs) > 0 {
				path = string(p.Outputs[0].Path)
			}
			t.row(cell.System, p.Package, what, path)
		}
		if cell.Plan != nil {
			t.row(cell.System, "(all)", cell.Plan, "")
			if cell.Plan.Push != nil {
				t.row(cell.System, "(all)", cell.Plan.Push, "")
			}
		}
	}
	return t.Flush()
}
