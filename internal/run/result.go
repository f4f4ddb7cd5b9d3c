package run

import (
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// CellResult is the result of a cell: one system with its packages.
type CellResult struct {
	System matrix.System `json:"system"`
	// Verdict is "built", "served" (a cache had every output, so that no engine was started) or "failed".
	Verdict Verdict `json:"verdict"`
	// Engine is nil if no engine was needed, or if none answered.
	Engine *engine.Engine `json:"engine,omitempty"`
	// Emulated is true if a machine that built something ran builders in an emulator.
	Emulated bool `json:"emulated"`
	// Sandbox is true if each machine that built something has a sandbox, and nil if no machine was measured.
	Sandbox *bool `json:"sandbox,omitempty"`
	// Memlock is how many bytes of memory builders can lock on each of these machines; -1 means no limit.
	Memlock *int64 `json:"memlock,omitempty"`
	// Machines are the machines that could build, as the probe step measured them.
	Machines []Machine       `json:"machines,omitempty"`
	Packages []PackageResult `json:"packages"`
	// Work is what Nix did for the packages; nil if Nix was not run.
	Work *Work `json:"work,omitempty"`
	// Second describes the second build of the packages; nil if there was none.
	Second *SecondBuild `json:"second,omitempty"`
	// Contract has the results of the contract's checks; empty if there is no contract, or if nothing was built.
	Contract []contract.Result `json:"contract,omitempty"`
	// Mismatches are the fetches with a wrong hash, with the lines of the flake that have the hash.
	Mismatches []contract.Mismatch `json:"mismatches,omitempty"`
	// Downloads are the fetches that failed, grouped by reason.
	Downloads []FailedDownloads `json:"downloads,omitempty"`
	// Publish is the result of publishing the cell; nil if the run does not export.
	Publish *PublishResult `json:"publish,omitempty"`
	// Plan is set by a preview only.
	Plan    *Plan   `json:"plan,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
	// Checked and Exported are true if these steps are done, or had nothing to do.
	Checked, Exported bool `json:"-"`
	// WritableInputs is true if builders can change their inputs on a machine that built something.
	WritableInputs bool `json:"-"`
	// Job is the URL of the CI job that ran the cell; empty outside of CI.
	Job string `json:"job,omitempty"`
	// Reported is true if the command publish has joined the cell from another run: what it says of machines is the report
	// of that run.
	Reported bool `json:"reported,omitempty"`
}

// Verdict is the result of a cell or a package in one word.
type Verdict string

// The verdicts. Only packages can be Substituted or Present.
const (
	Built       Verdict = "built"       // by this run
	Substituted Verdict = "substituted" // fetched from a cache by this run
	Present     Verdict = "present"     // was in the engine's store before
	Served      Verdict = "served"      // a cache has it, so nothing was done
	Failed      Verdict = "failed"
)

// The verdicts of a preview, which builds nothing.
const (
	Previewed Verdict = "previewed"
	ToBuild   Verdict = "to build"
	ToFetch   Verdict = "to fetch"
)

type PackageResult struct {
	Package    matrix.Package `json:"package"`
	Verdict    Verdict        `json:"verdict"`
	Derivation nix.StorePath  `json:"derivation,omitempty"`
	// Defined is the line of the flake that defines the package; nil if an input defines it.
	Defined *Line    `json:"defined,omitempty"`
	Outputs []Output `json:"outputs,omitempty"`
	// ClosureBytes and ClosurePaths are the size of the runtime closure of all outputs, in bytes of NARs and in paths.
	ClosureBytes int64    `json:"closureBytes,omitempty"`
	ClosurePaths int      `json:"closurePaths,omitempty"`
	Seconds      float64  `json:"seconds,omitempty"`
	Failure      *Failure `json:"failure,omitempty"`
	Log          string   `json:"log,omitempty"`
	// Builder is the store URI of the remote builder that built the package in this run; empty for the engine's own machine.
	Builder string `json:"builder,omitempty"`
	// Difference describes how a second build differed; nil if it did not, or if there was none.
	Difference *Difference `json:"difference,omitempty"`
	// Consumer is "hit" if a user of the public cache gets the outputs from it, "miss" if not, and empty if the cache was
	// not asked.
	Consumer Visibility `json:"consumer,omitempty"`
	// ServedBy is the cache that has the outputs, if the verdict is "served".
	ServedBy string `json:"servedBy,omitempty"`
}

// Visibility says whether a user of a cache gets a package from it.
type Visibility string

const (
	Visible    Visibility = "hit"
	NotVisible Visibility = "miss"
)

// Output is an output of a package, such as "out" or "dev".
type Output struct {
	Name string        `json:"name"`
	Path nix.StorePath `json:"path"`
	// NARHash is in SRI form. NARHash and NARSize are empty if the output is served and was not fetched.
	NARHash string `json:"narHash,omitempty"`
	NARSize int64  `json:"narSize,omitempty"`
	// Rebuild says whether a second build gave the same contents: "good", "bad", or "unknown" without a second build.
	Rebuild RebuildVerdict `json:"rebuild,omitempty"`
}

func (c CellResult) Published() bool { return c.Publish != nil && c.Publish.Verdict == Published }

func (p PackageResult) OutputPaths() []nix.StorePath {
	var paths []nix.StorePath
	for _, o := range p.Outputs {
		paths = append(paths, o.Path)
	}
	return paths
}
