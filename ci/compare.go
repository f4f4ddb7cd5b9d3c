package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

const compareManual = `Say in what two builds differ, and what most likely made them differ.

A and B are each one of
  a manifest, or the --out directory of a run, which has one with its cache beside it
  a binary cache: a directory with a file nix-cache-info
  a NAR: plain, or compressed by zstd or xz
  a store path, or any other file or directory

Manifests and caches are compared output by output; contents are read only where hashes differ. Trees and NARs are
compared file by file. Of a changed file it says where the first byte differs, in which ELF section or archive member
that is, and the likely cause: a time, a build path, an order, a random value. The report is on standard output.

The same on both sides ends with exit code 0, a difference with 3.`

func newCompare(sys system) *cobra.Command {
	var asJSON bool
	var page string
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Say in what two builds differ, byte by byte, and why",
		Long:  compareManual,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(fmt.Errorf("%s: %d paths given, want two", c.CommandPath(), len(args)))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			report, err := runCompare(c.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if page != "" {
				if err := writePage(regular.AnyFile(page), report); err != nil {
					return err
				}
			}
			if asJSON {
				err = writeJSON(sys.stdout, report)
			} else {
				err = report.WriteText(sys.stdout)
			}
			return errors.Join(err, different(report.Err()))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "the report as JSON")
	c.Flags().StringVar(&page, "html", "", "write the report as a page into `FILE`, too")
	return c
}

// differs is a difference with the outcome that it is.
type differs struct{ *compare.DifferenceError }

// Outcome of two sides that are not the same.
func (differs) Outcome() pipelines.Outcome { return pipelines.OutcomeDifferent }

func different(err error) error {
	var d *compare.DifferenceError
	if errors.As(err, &d) {
		return differs{d}
	}
	return err
}

// runCompare compares what is at two paths. A path with nothing at it, and two things of which one has outputs and the
// other has none, are mistakes of the command line.
func runCompare(ctx context.Context, a, b string) (*compare.Report, error) {
	var subjects [2]compare.Subject
	for i, path := range []string{a, b} {
		subject, err := compare.Open(ctx, path)
		if errors.Is(err, compare.ErrNothing) {
			return nil, usage(err)
		}
		if err != nil {
			return nil, err
		}
		subjects[i] = subject
	}
	report, err := compare.Compare(ctx, subjects[0], subjects[1], compareOptions())
	if errors.Is(err, compare.ErrMixed) {
		return nil, usage(err)
	}
	return report, err
}

// compareOptions name this machine, which may have built a side.
func compareOptions() compare.Options {
	var o compare.Options
	if host, err := os.Hostname(); err == nil {
		o.Hosts = []string{host}
	}
	return o
}

// writePage writes a page, which is complete or the one before.
func writePage(file regular.File, report *compare.Report) error {
	if err := file.Replace(0o644, report.WriteHTML); err != nil {
		return fmt.Errorf("write page %s: %w", file.Path(), err)
	}
	return nil
}
