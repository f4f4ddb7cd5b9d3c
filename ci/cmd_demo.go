package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func newDemo(process process) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Set this machine up and release the example flake: the first five minutes",
		Args:  arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("engine") {
				o.engines.kind = engineHost // which needs no image, and so no registry
			}
			if err := o.parse(c.Flags(), []string{exampleFlake}); err != nil {
				return err
			}
			o.publish.push = pushNever // even if the environment has a secret
			return runDemo(c.Context(), process, o, c.Flags().Changed("system"))
		},
	}
	o.register(c.Flags())
	return c
}

func runDemo(ctx context.Context, process process, o options, systemsGiven bool) error {
	if o.engines.kind == engineHost {
		machine := setup.Machine{Environ: process.environ, Log: process.stderr, Systems: o.systems}
		if err := machine.SetUp(ctx); err != nil {
			return err
		}
		if !systemsGiven {
			o.systems, o.chosen = runnable(ctx, process, machine, o.systems), true
		}
	}
	if err := runPipeline(ctx, process, releaseCommand, o); err != nil {
		return err
	}
	cache, err := filepath.Abs(o.out.File("cache"))
	if err != nil {
		return err
	}
	fmt.Fprintf(process.stderr, "\nAny Nix can substitute from it:\n  nix copy --no-check-sigs --from 'file://%s' PATH\n", cache)
	return nil
}

// runnable returns the systems that this machine's Nix can build, and prints why others are left out. A release refuses
// them instead.
func runnable(ctx context.Context, process process, machine setup.Machine, systems []matrix.System) []matrix.System {
	return slices.DeleteFunc(slices.Clone(systems), func(s matrix.System) bool {
		err := machine.BuildProblem(ctx, s)
		if err != nil {
			printLeftOut(process, s, err)
		}
		return err != nil
	})
}

func printLeftOut(process process, s matrix.System, err error) {
	fmt.Fprintf(process.stderr, "left out: %s: %v\n", s, err)
	for _, command := range hint.Of(err) {
		fmt.Fprintf(process.stderr, "  to include it: %s\n", hint.For(process.program, command))
	}
}
