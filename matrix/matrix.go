// Package matrix says which packages are built on which systems.
// It is pure data: nothing here runs, reads or writes.
package matrix

import "slices"

// Cell is one system with the packages that are built for it. A cell is one build, because Nix schedules their shared
// dependencies best.
type Cell struct {
	System   System    `json:"system"`
	Packages []Package `json:"packages"`
}

// Expand returns a cell for each system, in the order of [Systems], with all packages in the given order. It ignores
// repeated systems and packages.
func Expand(systems []System, packages []Package) []Cell {
	var once []Package
	for _, p := range packages {
		if !slices.Contains(once, p) {
			once = append(once, p)
		}
	}
	var cells []Cell
	for _, s := range Systems() {
		if slices.Contains(systems, s) {
			cells = append(cells, Cell{System: s, Packages: slices.Clone(once)})
		}
	}
	return cells
}
