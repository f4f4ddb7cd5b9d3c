package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// registerRebuild adds --rebuild, which needs no value to be enforced.
func (f *flags) registerRebuild(c *cobra.Command, command string) {
	preset := off
	if command == commandRelease {
		preset = enforce
	}
	c.Flags().StringVar(&f.rebuild, "rebuild", preset, "build each package a second time, and what a difference does: enforce (exit code 3), warn or off")
	c.Flags().Lookup("rebuild").NoOptDefVal = enforce
}

// parseRebuild reads --rebuild. A release proves what it publishes; a pull request and a person have no need of it.
func (f *flags) parseRebuild(o *options) error {
	switch f.rebuild {
	case enforce:
	case warn:
		o.rebuild.WarnOnly = true
	case off:
		o.rebuild.Without = "--rebuild=" + off
	case "":
		o.rebuild.Without = "this command does not rebuild"
	default:
		return fmt.Errorf("parse --rebuild %q: want %s, %s or %s", f.rebuild, enforce, warn, off)
	}
	return nil
}

// evidence keeps results that differ in a binary cache of their own. It implements [pipelines.Evidence].
type evidence struct{ dir string }

func (e evidence) Keep(ctx context.Context, stream io.Reader, first, second nix.StorePath) (d pipelines.Difference, err error) {
	cache, err := binarycache.Open(e.dir)
	if err != nil {
		return d, err
	}
	cache.Partial = true // what the results refer to is not needed to look at them
	if _, err := cache.Import(ctx, stream); err != nil {
		return d, err
	}
	d.Second = second
	for _, path := range []nix.StorePath{first, second} {
		info, err := cache.Info(path)
		if err != nil {
			return d, err
		}
		d.Kept = append(d.Kept, filepath.Join(cache.Name(), filepath.FromSlash(info.URL)))
	}
	report, err := compare.Trees(ctx, compare.InCache(cache, first), compare.InCache(cache, second), compare.Options{})
	if err != nil {
		return d, err
	}
	d.Files = differences(report)
	return d, nil
}

// differences says of the first few files in what they differ, a line each.
func differences(report *compare.Report) []string {
	const most = 5
	var lines []string
	total := 0
	for _, o := range report.Outputs {
		total += len(o.Differences) + o.Unlisted
		for _, d := range o.Differences {
			if len(lines) < most {
				line := d.Title() + ": " + d.Summary()
				for _, cause := range d.Causes {
					line += ", likely " + string(cause)
				}
				lines = append(lines, line)
			}
		}
	}
	if more := total - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}
