package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
)

func newDoctor(process process) *cobra.Command {
	var fix bool
	var online onlineOptions
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Show what is installed, what is missing, and how to fix it; exit 1 if a release cannot run",
		Args:  arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if online.given && fix {
				return usage(errors.New("doctor: --online changes nothing, so it goes without --fix"))
			}
			if online.given {
				return runOnline(c.Context(), process.maskSecret(online.publish.secret), online)
			}
			if c.Flags().NFlag() > 1 || c.Flags().NFlag() == 1 && !fix {
				return usage(hint.Wrap(errors.New("doctor: these flags are for --online"), "%s", commandLine("doctor", "--online")))
			}
			return runDoctor(c.Context(), process, fix)
		},
	}
	c.Flags().BoolVar(&fix, "fix", false, "install what is missing, from the system's packages (as root)")
	online.register(c)
	return c
}

func runDoctor(ctx context.Context, process process, fix bool) error {
	machine := setup.Machine{Environ: process.environ, Log: process.stderr}
	if fix {
		if err := machine.SetUp(ctx); err != nil {
			return err
		}
	}
	access := host.InspectAccess(process.environ)
	findings := machine.Examine(ctx, access, fix)
	if err := printFindings(process, findings); err != nil {
		return err
	}
	reason := setup.CannotRun(findings)
	if reason == "" {
		fmt.Fprintln(process.stdout, setup.Ready(findings))
		return nil
	}
	err := errors.New(reason)
	if access.Root && access.Apt && !fix {
		return hint.Wrap(err, "%s", commandLine("doctor", "--fix"))
	}
	return err
}

func printFindings(process process, findings []setup.Finding) error {
	t := newTable(process.stdout)
	for _, f := range findings {
		mark := "ok"
		if !f.OK {
			mark = "missing"
		}
		t.row(mark, f.Part, f.Found)
		if !f.OK && f.Fix != "" {
			t.row("", "", "fix: "+hint.For(process.program, f.Fix))
		}
	}
	return t.Flush()
}
