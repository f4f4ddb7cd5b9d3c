package run

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Difference is in what two builds of an output differ.
type Difference struct {
	Output nix.StorePath `json:"output,omitempty"`
	// Kept are the files of the two NARs, and Page is one that shows their differences.
	Kept []string `json:"kept,omitempty"`
	Page string   `json:"page,omitempty"`
	// Files says of the first few files in what they differ.
	Files []string `json:"files,omitempty"`
	// Reason is in one line.
	Reason string `json:"reason"`
	// Earlier says that it was an earlier run that has found it.
	Earlier bool `json:"earlier,omitempty"`
}

func (d *Difference) String() string {
	text := d.Reason
	if d.Earlier {
		text = "as an earlier run has found, " + text
	}
	return text + InFiles(d.Files)
}

// InFiles says in which files something differs, behind what there is to say of it.
func InFiles(files []string) string {
	if len(files) == 0 {
		return ""
	}
	return ": " + strings.Join(files, "; ")
}

// Machine returns the machine that Nix names in its log, by its whole URI or by all but the parameters, which new versions
// write in their own way. One that was not measured is added.
func (c *CellResult) Machine(builder string) *Machine {
	name := nix.Redact(builder)
	if i := slices.IndexFunc(c.Machines, func(m Machine) bool { return m.Builder == name }); i >= 0 {
		return &c.Machines[i]
	}
	found := -1
	for i, m := range c.Machines {
		if m.Builder == "" || WithoutParameters(m.Builder) != WithoutParameters(name) {
			continue
		}
		if found >= 0 {
			found = -1 // either may be meant
			break
		}
		found = i
	}
	if found < 0 {
		c.Machines = append(c.Machines, Machine{Builder: name})
		found = len(c.Machines) - 1
	}
	return &c.Machines[found]
}

// MachinesWithWritableInputs names the machines that built something, and whose builders can change their inputs.
func (c *CellResult) MachinesWithWritableInputs() (names []string) {
	for _, m := range c.Machines {
		if m.Built > 0 && m.WritableInputs {
			names = append(names, m.On())
		}
	}
	return names
}

// UnsandboxedMachines names the machines that built something without a sandbox, or without being measured.
func (c *CellResult) UnsandboxedMachines() (names []string) {
	for _, m := range c.Machines {
		if m.Built > 0 && !m.Sandboxed() {
			names = append(names, m.On())
		}
	}
	return names
}

// CellResult is what came of a cell.
type CellResult struct {
	System matrix.System `json:"system"`
	// Verdict is "built", "served" (a cache had every output, so that no engine was started) or "failed".
	Verdict Verdict `json:"verdict"`
	// Engine is nil where none was needed or none answered.
	Engine *engine.Engine `json:"engine,omitempty"`
	// Emulated says that a machine which built something ran builders under an emulator.
	Emulated bool `json:"emulated"`
	// Sandbox says that each machine which built something has a sandbox; nil where none was tried.
	Sandbox *bool `json:"sandbox,omitempty"`
	// Memlock is the most memory in bytes that builders could lock on each of these machines; -1 is without limit.
	Memlock *int64 `json:"memlock,omitempty"`
	// Machines are those that could build, each as the smoke step measured it; empty where none was tried.
	Machines []Machine       `json:"machines,omitempty"`
	Packages []PackageResult `json:"packages"`
	// Work is what Nix has done for them; nil where it was not asked to do anything.
	Work *Work `json:"work,omitempty"`
	// Second says how the packages were built a second time; nil where they were not.
	Second *SecondBuild `json:"second,omitempty"`
	// Contract is what the checks of the contract found; empty where there is none, or nothing was built.
	Contract []contract.Result `json:"contract,omitempty"`
	// Mismatches are the fetches whose hash was wrong, with the lines of the flake that hold it.
	Mismatches []contract.Mismatch `json:"mismatches,omitempty"`
	// Downloads are the fetches that got nothing, by reason.
	Downloads []FailedDownloads `json:"downloads,omitempty"`
	// Publish is what came of publishing the cell, a verdict of its own; absent where the run was not to export anything.
	Publish *PublishResult `json:"publish,omitempty"`
	// Plan is of a preview alone.
	Plan    *Plan   `json:"plan,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
	// checked and exported say that these steps were done, or that there was nothing to do in them.
	Checked, Exported bool `json:"-"`
	// WritableInputs says that a machine which built something has builders that can change their inputs.
	WritableInputs bool `json:"-"`
	// Job is the web page of the job of a CI service that the cell was run in; empty elsewhere.
	Job string `json:"job,omitempty"`
}

// Verdict is the end of a cell or package in one word.
type Verdict string

// The verdicts. Substituted and Present are of packages alone.
const (
	Built       Verdict = "built"       // by this run
	Substituted Verdict = "substituted" // fetched from a cache by this run
	Present     Verdict = "present"     // was in the engine's store before
	Served      Verdict = "served"      // by a cache, so that nothing was done
	Failed      Verdict = "failed"
)

// The verdicts of a preview, which does nothing.
const (
	Previewed Verdict = "previewed"
	ToBuild   Verdict = "to build"
	ToFetch   Verdict = "to fetch"
)

// PackageResult is what came of a package of a cell.
type PackageResult struct {
	Package    matrix.Package `json:"package"`
	Verdict    Verdict        `json:"verdict"`
	Derivation nix.StorePath  `json:"derivation,omitempty"`
	// Defined is the line of the flake that defines the package; nil where an input does.
	Defined *Line    `json:"defined,omitempty"`
	Outputs []Output `json:"outputs,omitempty"`
	// ClosureBytes and ClosurePaths measure the runtime closure of all outputs, in bytes of NARs.
	ClosureBytes int64    `json:"closureBytes,omitempty"`
	ClosurePaths int      `json:"closurePaths,omitempty"`
	Seconds      float64  `json:"seconds,omitempty"`
	Failure      *Failure `json:"failure,omitempty"`
	Log          string   `json:"log,omitempty"`
	// Builder is the store URI of the remote builder that built the package in this run; empty for the engine's own machine.
	Builder string `json:"builder,omitempty"`
	// Difference is in what a second build differed; absent where it did not, or there was none.
	Difference *Difference `json:"difference,omitempty"`
	// Consumer says whether somebody who has the public cache as a substituter gets the outputs from it: "hit" or "miss";
	// absent where that was not asked.
	Consumer Sight `json:"consumer,omitempty"`
	// ServedBy is the cache that has the outputs, where the verdict is "served".
	ServedBy string `json:"servedBy,omitempty"`
}

// Sight is what a consumer of a cache sees of a package.
type Sight string

// What a consumer sees.
const (
	Hit  Sight = "hit"
	Miss Sight = "miss"
)

// Output is an output of a package, such as "out" or "dev".
type Output struct {
	Name string        `json:"name"`
	Path nix.StorePath `json:"path"`
	// NARHash is in SRI form; it and NARSize are empty where the outputs were served and never fetched.
	NARHash string `json:"narHash,omitempty"`
	NARSize int64  `json:"narSize,omitempty"`
	// Rebuild says whether a second build came out the same: "good", "bad", or "unknown" where there was none.
	Rebuild RebuildVerdict `json:"rebuild,omitempty"`
}

// Plan is what Nix is going to do for a cell.
type Plan struct {
	// Build is the derivations that will be built.
	Build []nix.StorePath `json:"build"`
	// Fetch is the paths that will be downloaded.
	Fetch []nix.StorePath `json:"fetch"`
	// FetchBytes is the size of the downloads, UnpackedBytes what they need on disk.
	FetchBytes    int64 `json:"fetchBytes"`
	UnpackedBytes int64 `json:"unpackedBytes"`
	// Push is what would be published then; absent where nothing would.
	Push *PushPlan `json:"push,omitempty"`
}

func (c CellResult) Published() bool { return c.Publish != nil && c.Publish.Verdict == Published }

// Nothing reports whether there is nothing to do.
func (p Plan) Nothing() bool { return len(p.Build)+len(p.Fetch) == 0 }

func (p Plan) String() string {
	if p.Nothing() {
		return "nothing to build or fetch"
	}
	text := fmt.Sprintf("build %d", len(p.Build))
	if len(p.Fetch) > 0 {
		text += fmt.Sprintf(", fetch %d (%.1f MiB)", len(p.Fetch), float64(p.FetchBytes)/(1<<20))
	}
	return text
}

// Verdict says what the plan holds for a package.
func (p Plan) Verdict(pkg *PackageResult) Verdict {
	for _, drv := range p.Build {
		if drv == pkg.Derivation {
			return ToBuild
		}
	}
	for _, path := range p.Fetch {
		for _, o := range pkg.Outputs {
			if o.Path == path {
				return ToFetch
			}
		}
	}
	return Present
}

// RebuildVerdict says whether an output was proven to be reproducible.
type RebuildVerdict string

// The verdicts of a second build. An output that was not rebuilt is Unknown, which is no pass.
const (
	Good    RebuildVerdict = "good"
	Bad     RebuildVerdict = "bad"
	Unknown RebuildVerdict = "unknown"
)

// SecondBuild says how packages were built a second time; how they were the first time is with their cell.
type SecondBuild struct {
	// Engine is where; nil where that is the cell's own.
	Engine   *engine.Engine `json:"engine,omitempty"`
	Emulated bool           `json:"emulated"`
	Sandbox  *bool          `json:"sandbox,omitempty"`
	// Cores is how many processors each build was told to use. The first was told to use all.
	Cores   int     `json:"cores"`
	Seconds float64 `json:"seconds"`
}

// Reproducible is the verdict over all outputs of a package: the worst of them.
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

// OutputPaths are the store paths of the outputs.
func (p PackageResult) OutputPaths() []nix.StorePath {
	var paths []nix.StorePath
	for _, o := range p.Outputs {
		paths = append(paths, o.Path)
	}
	return paths
}

// Forget takes out what an earlier run has kept elsewhere, or what was removed since.
func (d *Difference) Forget() {
	for _, file := range d.Kept {
		if _, err := os.Stat(file); err != nil {
			d.Kept, d.Page = nil, ""
			return
		}
	}
}

// Work is what Nix has done for a cell, for the dependencies of its packages too.
type Work struct {
	// Built counts the derivations that were built well.
	Built int `json:"built"`
	// Fetched counts the store paths that came from a cache instead, and FetchedBytes what was downloaded for them.
	Fetched      int   `json:"fetched"`
	FetchedBytes int64 `json:"fetchedBytes,omitempty"`

	Derivations map[nix.StorePath]bool `json:"-"` // that were built well
	By          map[string]int         `json:"-"` // how many of Built each remote builder built, by its URI; under "", the engine's own machine
}

// HasBuilt says whether the run has built a derivation.
func (w *Work) HasBuilt(drv nix.StorePath) bool { return w != nil && drv != "" && w.Derivations[drv] }
