package run

import (
	"os"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Difference describes how two builds of an output differ.
type Difference struct {
	Output nix.StorePath `json:"output,omitempty"`
	// Kept are the files with the two NARs. Page is a file that shows their differences.
	Kept []string `json:"kept,omitempty"`
	Page string   `json:"page,omitempty"`
	// Files has a line for each of the first few files that differ.
	Files []string `json:"files,omitempty"`
	// Reason is one line.
	Reason string `json:"reason"`
	// Earlier is true if an earlier run found the difference.
	Earlier bool `json:"earlier,omitempty"`
}

func (d *Difference) String() string {
	text := d.Reason
	if d.Earlier {
		text = "as an earlier run has found, " + text
	}
	return text + InFiles(d.Files)
}

// InFiles returns the lines about files that differ as the end of a sentence.
func InFiles(files []string) string {
	if len(files) == 0 {
		return ""
	}
	return ": " + strings.Join(files, "; ")
}

// RebuildVerdict says whether an output is reproducible.
type RebuildVerdict string

// The verdicts of a second build. An output without a second build is Unknown, which is not a pass.
const (
	Good    RebuildVerdict = "good"
	Bad     RebuildVerdict = "bad"
	Unknown RebuildVerdict = "unknown"
)

// SecondBuild describes the second build of a cell's packages.
type SecondBuild struct {
	// Engine is the engine of the second build; nil if it is the cell's own engine.
	Engine   *engine.Engine `json:"engine,omitempty"`
	Emulated bool           `json:"emulated"`
	Sandbox  *bool          `json:"sandbox,omitempty"`
	// Cores is Nix's setting "cores" for the second build. The first build uses all processors.
	Cores   int     `json:"cores"`
	Seconds float64 `json:"seconds"`
	// Machines and Job are those of a run on another machine, as it reports them.
	Machines []Machine `json:"machines,omitempty"`
	Job      string    `json:"job,omitempty"`
}

// Reproducible returns the worst verdict of all outputs of a package.
func (p PackageResult) Reproducible() RebuildVerdict {
	verdict := Good
	for _, o := range p.Outputs {
		switch {
		case o.Rebuild == Bad:
			return Bad
		case o.Rebuild != Good:
			verdict = Unknown
		}
	}
	if len(p.Outputs) == 0 {
		return Unknown
	}
	return verdict
}

// Forget removes the names of files that no longer exist.
func (d *Difference) Forget() {
	for _, file := range d.Kept {
		if _, err := os.Stat(file); err != nil {
			d.Kept, d.Page = nil, ""
			return
		}
	}
}
