package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func newMatrix(process process) *cobra.Command {
	var o selection
	var github bool
	c := &cobra.Command{
		Use:   "matrix",
		Short: "Print the cells: which packages are built on which systems",
		Args:  arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return printMatrix(process, o.cells(defaultProject.Packages), github)
		},
	}
	c.Flags().BoolVar(&github, "github", false, "as the JSON of a job's matrix on GitHub Actions")
	o.register(c.Flags())
	return c
}

func printMatrix(process process, cells []matrix.Cell, github bool) error {
	if github {
		data, err := matrix.GitHub(cells)
		if err != nil {
			return usage(err)
		}
		_, err = fmt.Fprintf(process.stdout, "%s\n", printable.EscapeJSON(data))
		return err
	}
	t := newTable(process.stdout)
	t.row("SYSTEM", "PACKAGE", "RUNNER")
	for _, c := range cells {
		for _, p := range c.Packages {
			t.row(c.System, p, c.System.Runner())
		}
	}
	return t.Flush()
}
