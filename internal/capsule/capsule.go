package capsule

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// Version is that of the format, documented in docs/capsule.md.
const Version = 1

// Capsule is what the file capsule.json says.
type Capsule struct {
	Version int `json:"version"`
	// Tool is the program that has written it, and Run the run that failed, which was of the command Command.
	Tool    string `json:"tool"`
	Run     string `json:"run"`
	Command string `json:"command"`
	// Finished is when, in UTC, to the second.
	Finished string         `json:"finished"`
	Source   flake.Snapshot `json:"source"`
	// Settings are those that every command of Nix was given, without credentials and without remote builders.
	Settings nix.Settings `json:"settings,omitempty"`
	Limits   Limits       `json:"limits"`
	Cells    []Cell       `json:"cells"`
}

// Limits are those that the run was given. A zero is no limit.
type Limits struct {
	// TimeoutSeconds is the longest that a system could take, Jobs how many derivations could be built at a time.
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"`
	Jobs           int     `json:"jobs,omitempty"`
	// Memlock is how much memory the packages' tests need to lock, in bytes; what builders got is with each cell.
	Memlock int64 `json:"memlock,omitempty"`
}

// Cell is a system of which something failed.
type Cell struct {
	System   matrix.System     `json:"system"`
	Engine   *pipelines.Engine `json:"engine,omitempty"`
	Emulated bool              `json:"emulated"`
	Sandbox  *bool             `json:"sandbox,omitempty"`
	Memlock  *int64            `json:"memlock,omitempty"`
	// Packages are those that failed, with their derivations.
	Packages []pipelines.PackageResult `json:"packages"`
	// Failures are the derivations that failed, which may be dependencies of the packages.
	Failures []Failure `json:"failures"`
	// Export is the member of the archive with all that they are made from, and ExportHash its SHA-256 in SRI form.
	Export     string `json:"export"`
	ExportHash string `json:"exportHash"`
}

// Failure is a derivation that failed.
type Failure struct {
	Derivation nix.StorePath `json:"derivation"`
	pipelines.Failure
	// Log is the member with the end of its log; empty where it said nothing.
	Log string `json:"log,omitempty"`
}

// memberName is what a member may be called: nothing leads out of the directory that it is unpacked into.
var memberName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+?=-]*(/[A-Za-z0-9_][A-Za-z0-9._+?=-]*)*$`)

// validate looks at what others parse no more.
func (c *Capsule) validate() error {
	switch {
	case c.Version == 0:
		return errors.New("it has no version: it is not a capsule")
	case c.Version != Version:
		return hint.Wrap(fmt.Errorf("it is of version %d, and this program knows version %d", c.Version, Version),
			"use the version of this program that its field \"tool\" names: %s", nix.FirstLine(nix.PlainText(c.Tool)))
	case len(c.Cells) == 0:
		return errors.New("it has no system in it")
	}
	seen := map[matrix.System]bool{}
	for _, cell := range c.Cells {
		if err := cell.validate(); err != nil {
			return fmt.Errorf("%.40q: %w", cell.System, err)
		}
		if seen[cell.System] {
			return fmt.Errorf("%s is in it twice", cell.System)
		}
		seen[cell.System] = true
	}
	return nil
}

func (c *Cell) validate() error {
	if _, err := matrix.ParseSystem(string(c.System)); err != nil {
		return err
	}
	if len(c.Packages) == 0 || len(c.Failures) == 0 {
		return errors.New("nothing in it has failed")
	}
	for _, p := range c.Packages {
		if _, err := matrix.ParsePackage(string(p.Package)); err != nil {
			return err
		}
		if !isDerivation(p.Derivation) {
			return fmt.Errorf("package %s has no derivation", p.Package)
		}
		for _, o := range p.Outputs {
			if _, err := nix.ParseStorePath(string(o.Path)); err != nil {
				return err
			}
		}
	}
	for _, f := range c.Failures {
		if !isDerivation(f.Derivation) {
			return fmt.Errorf("%.80q is no derivation", f.Derivation)
		}
	}
	for _, name := range append([]string{c.Export}, c.logs()...) {
		if !memberName.MatchString(name) || path.Clean(name) != name {
			return fmt.Errorf("%.80q is no name of a member", name)
		}
	}
	_, err := nix.ParseHash(c.ExportHash)
	return err
}

func (c *Cell) logs() []string {
	var names []string
	for _, f := range c.Failures {
		if f.Log != "" {
			names = append(names, f.Log)
		}
	}
	return names
}

func isDerivation(path nix.StorePath) bool {
	_, err := nix.ParseStorePath(string(path))
	return err == nil && strings.HasSuffix(string(path), ".drv")
}
