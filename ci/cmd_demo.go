package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func newDemo(sys process) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Set this machine up and release the example flake: the first five minutes",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("engine") {
				// This machine's own Nix needs no image, and so no registry.
				f.engineTexts = []string{engineHost}
			}
			o, err := f.options(c, []string{exampleFlake})
			if err != nil {
				return err
			}
			o.publish.push = pushNever // even if the environment has a secret
			return runDemo(c.Context(), sys, o, c.Flags().Changed("system"))
		},
	}
	f.register(c)
	return c
}

func runDemo(ctx context.Context, sys process, o options, systemsGiven bool) error {
	if o.engines.kind == engineHost {
		if err := setUp(ctx, sys); err != nil {
			return err
		}
		if !systemsGiven {
			var err error
			if o.cells, err = runnable(ctx, sys, o.cells); err != nil {
				return err
			}
		}
	}
	if err := runPipeline(ctx, sys, releaseCommand, o); err != nil {
		return err
	}
	cache, err := filepath.Abs(o.out.File("cache"))
	if err != nil {
		return err
	}
	fmt.Fprintf(sys.stderr, "\nAny Nix can substitute from it:\n  nix copy --no-check-sigs --from 'file://%s' PATH\n", cache)
	return nil
}

// runnable leaves out the systems that this machine's Nix cannot build for, and prints why. A release refuses instead.
func runnable(ctx context.Context, sys process, cells []matrix.Cell) ([]matrix.Cell, error) {
	native, err := nativeSystem(ctx)
	if err != nil {
		return nil, err
	}
	check := foreignCheck{access: host.InspectAccess(sys.environ), nix: true, tried: true}
	var kept []matrix.Cell
	for _, c := range cells {
		if c.System != native {
			if err := check.problem(ctx, sys, c.System); err != nil {
				printLeftOut(sys.stderr, c.System, err)
				continue
			}
		}
		kept = append(kept, c)
	}
	return kept, nil
}

func printLeftOut(w io.Writer, s matrix.System, err error) {
	fmt.Fprintf(w, "left out: %s: %v\n", s, err)
	for _, command := range hint.Of(err) {
		fmt.Fprintf(w, "  to include it: %s\n", command)
	}
}
