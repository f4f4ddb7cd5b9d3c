// Package matrix says which packages are built on which systems.
// It is pure data: nothing here runs, reads or writes.
package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// System is a Nix system string: the machine and operating system that a derivation is built on.
type System string

// The systems that a release is made for.
const (
	X8664Linux   System = "x86_64-linux"
	AArch64Linux System = "aarch64-linux"
)

// Systems lists every known system in the order in which tables and manifests show them.
func Systems() []System { return []System{X8664Linux, AArch64Linux} }

// otherOS are operating systems that Nix has systems of, beside Linux.
var otherOS = []string{"darwin", "freebsd", "openbsd", "netbsd", "cygwin", "windows"}

// ParseSystem returns the system that s names, or an error with a hint that names the nearest one.
func ParseSystem(s string) (System, error) {
	if slices.Contains(Systems(), System(s)) {
		return System(s), nil
	}
	if _, os, ok := strings.Cut(s, "-"); ok && slices.Contains(otherOS, os) {
		return "", fmt.Errorf("parse system %q: not supported: Linux only", s)
	}
	err := fmt.Errorf("parse system %q: not one of %v", s, Systems())
	if near := hint.Nearest(s, Systems(), 1); len(near) > 0 {
		err = hint.Wrap(err, "did you mean %s?", near[0])
	}
	return "", err
}

// Machine returns the processor's name as uname and Nix spell it: "x86_64" or "aarch64".
func (s System) Machine() string {
	if s == AArch64Linux {
		return "aarch64"
	}
	return "x86_64"
}

// Platform returns the name of s in OCI images and in Dagger: "linux/amd64" or "linux/arm64".
func (s System) Platform() string {
	if s == AArch64Linux {
		return "linux/arm64"
	}
	return "linux/amd64"
}

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
