package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func newMatrix(sys process) *cobra.Command {
	var f flags
	var github bool
	c := &cobra.Command{
		Use:   "matrix",
		Short: "Print the cells: which packages are built on which systems",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o := options{project: defaultProject}
			if err := f.parseCells(&o); err != nil {
				return usage(err)
			}
			return printMatrix(sys, o.cells, github)
		},
	}
	c.Flags().BoolVar(&github, "github", false, "as the JSON of a job's matrix on GitHub Actions")
	c.Flags().StringArrayVar(&f.systems, "system", nil, "system to build for; repeatable (default: all)")
	c.Flags().StringArrayVar(&f.packages, "package", nil, "package to build; repeatable (default: the project's)")
	return c
}

func printMatrix(sys process, cells []matrix.Cell, github bool) error {
	if github {
		data, err := matrix.GitHub(cells)
		if err != nil {
			return usage(err)
		}
		_, err = fmt.Fprintf(sys.stdout, "%s\n", printable.EscapeJSON(data))
		return err
	}
	t := newTable(sys.stdout)
	t.row("SYSTEM", "PACKAGE", "RUNNER")
	for _, c := range cells {
		for _, p := range c.Packages {
			t.row(c.System, p, c.System.Runner())
		}
	}
	return t.Flush()
}
