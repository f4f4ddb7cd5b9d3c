package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

var planCommand = command{name: "plan", readOnly: true, publishes: true}

func newPlan(process process) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   planCommand.name + " [FLAKE]",
		Short: "Show what would be built or fetched, and what is there; change nothing",
		Args:  arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.parse(c.Flags(), args); err != nil {
				return err
			}
			return runPlan(c.Context(), process.maskSecret(o.publish.secret), o)
		},
	}
	o.register(c.Flags())
	o.publish.registerCache(c)
	return c
}

func runPlan(ctx context.Context, process process, o options) (err error) {
	var manifest *run.Manifest
	asJSON := o.json
	o.json = false // the plan itself is the JSON on standard output, not the events
	err = withRelease(ctx, process, planCommand, &o, func(r *pipelines.Release) (err error) {
		manifest, err = (&pipelines.Preview{Job: r.Job, Served: r.Served, Store: r.Store, Publish: r.Publish}).Run(ctx)
		return err
	})
	if manifest == nil {
		return err
	}
	if asJSON {
		return errors.Join(err, report.WriteJSON(process.stdout, manifest))
	}
	if o.verbose {
		err = errors.Join(err, printSettings(process.stdout, o.settings()))
	}
	return errors.Join(err, printPlan(process.stdout, manifest))
}

// printSettings writes a line for each setting, with its origin.
func printSettings(w io.Writer, all []project.Setting) error {
	t := newTable(w)
	t.row("SETTING", "VALUE", "ORIGIN")
	for _, s := range all {
		t.row(s.Name, printable.Line(s.Value), printable.Line(s.Origin))
	}
	t.row("", "", "")
	return t.Flush()
}

// printPlan writes a line for each package, and one for everything else that its system needs.
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
