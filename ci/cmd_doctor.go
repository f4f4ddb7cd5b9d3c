package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func newDoctor(process process) *cobra.Command {
	var o selection
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
			others := false
			c.Flags().Visit(func(f *pflag.Flag) { others = others || f.Name != "fix" && f.Name != "system" })
			if others {
				return usage(hint.Wrap(errors.New("doctor: these flags are for --online"), "%s", commandLine("doctor", "--online")))
			}
			return runDoctor(c.Context(), process, fix, o.systems)
		},
	}
	c.Flags().BoolVar(&fix, "fix", false, "install what is missing, from the system's packages (as root)")
	o.registerSystems(c.Flags(), "system that a release is for; repeatable (default: x86_64-linux and aarch64-linux)")
	online.register(c)
	return c
}

func runDoctor(ctx context.Context, process process, fix bool, systems []matrix.System) error {
	machine := setup.Machine{Environ: process.environ, Log: process.stderr, Systems: systems}
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
		command := []string{"doctor", "--fix"}
		if !slices.Equal(systems, matrix.DefaultSystems()) {
			for _, s := range systems {
				command = append(command, "--system", string(s))
			}
		}
		return hint.Wrap(err, "%s", commandLine(command...))
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
