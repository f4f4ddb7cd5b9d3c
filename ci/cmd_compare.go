package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

const compareManual = `Report what differs between two builds, and why where that is certain.

A and B are each one of
  a manifest, or the --out directory of a run, which has one with its cache beside it
  a binary cache: a directory with a file nix-cache-info
  a NAR: plain, or compressed with zstd or xz
  a store path, or any other file or directory

Manifests and caches are compared output by output. Contents are read only where hashes differ. Trees and NARs are
compared file by file: what was added, removed or changed, and by how many bytes it grew. Archives, compressed files and
ELF files are entered. If both sides are builds of the same derivation (the same store path), the report also names
causes, such as the time of the build or a build path, and what usually fixes them. The report is on standard output.

Exit code 0: both sides are the same. 3: they differ.`

func newCompare(process process) *cobra.Command {
	var asJSON bool
	var page string
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Report what differs between two builds",
		Long:  compareManual,
		Args:  arguments(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			result, err := runCompare(c.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if page != "" {
				if err := writePage(regular.AnyFile(page), result); err != nil {
					return err
				}
			}
			if asJSON {
				err = report.WriteJSON(process.stdout, result)
			} else {
				_, err = io.WriteString(process.stdout, result.String())
			}
			return errors.Join(err, result.Err())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "the report as JSON")
	c.Flags().StringVar(&page, "html", "", "also write the report as a page to `FILE`")
	return c
}

// runCompare compares two paths. A path that does not exist, and two paths of different kinds, are usage errors.
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
	report, err := compare.Compare(ctx, subjects[0], subjects[1], compare.Options{})
	if errors.Is(err, compare.ErrMixed) {
		return nil, usage(err)
	}
	return report, err
}

// writePage writes a page atomically.
func writePage(file regular.File, report *compare.Report) error {
	if err := file.Replace(0o644, report.WriteHTML); err != nil {
		return fmt.Errorf("write page %s: %w", file.Path(), err)
	}
	return nil
}
