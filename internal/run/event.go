package run

import (
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Event is an event of a run. Its dynamic type is one of those in this file.
// System is empty if an event is about the whole run.
type Event interface{ event() }

// Step is the name of a step of a run: the same in code, logs, events and manifest.
type Step string

// The steps of a run, in the order in which they happen.
const (
	StepSnapshot  Step = "snapshot"
	StepPreflight Step = "preflight"
	StepEvaluate  Step = "evaluate"
	StepPlan      Step = "plan"
	StepProbe     Step = "probe"
	StepBuild     Step = "build"
	StepContract  Step = "contract"
	StepRebuild   Step = "rebuild"
	StepExport    Step = "export"
	StepPush      Step = "push"
	StepConfirm   Step = "confirm"
	StepPin       Step = "pin"
	StepSBOM      Step = "sbom"
	StepAttest    Step = "attest"
	StepManifest  Step = "manifest"

	// StepVerify is a step of the command publish alone: it verifies what other machines have built.
	StepVerify Step = "verify"
)

// Steps are all steps in that order.
var Steps = []Step{
	StepSnapshot, StepPreflight, StepEvaluate, StepPlan, StepProbe, StepBuild, StepContract, StepRebuild, StepExport, StepPush,
	StepConfirm, StepPin, StepSBOM, StepAttest, StepManifest,
}

type (
	// RunStarted is the first event of a run.
	RunStarted struct {
		ID    string        `json:"id"`
		Flake string        `json:"flake"`
		Cells []matrix.Cell `json:"cells"`
	}

	// StepStarted says that a step of a cell, or of the run, begins.
	StepStarted struct {
		Step   Step          `json:"step"`
		System matrix.System `json:"system,omitempty"`
	}

	// StepFinished says that a step has ended: it succeeded, failed, or was skipped.
	StepFinished struct {
		Step    Step          `json:"step"`
		System  matrix.System `json:"system,omitempty"`
		Seconds float64       `json:"seconds"`
		// Summary is the result of the step in a few words.
		Summary string `json:"summary,omitempty"`
		// Skipped says why the step had nothing to do. A skipped step never counts as passed.
		Skipped string `json:"skipped,omitempty"`
		Error   string `json:"error,omitempty"`
		// Interrupted says that the step failed because the run was cancelled.
		Interrupted bool `json:"interrupted,omitempty"`
		// At is the line of the flake that the error is about; nil if it is not known.
		At *Line `json:"at,omitempty"`
	}

	// Planned says what Nix will do for a cell.
	Planned struct {
		System matrix.System `json:"system"`
		Plan   Plan          `json:"plan"`
	}

	// PackageFailed says that a package cannot be built: it does not evaluate, or the flake does not have it.
	PackageFailed struct {
		System  matrix.System  `json:"system"`
		Package matrix.Package `json:"package"`
		Failure Failure        `json:"failure"`
		// Text is Nix's message, with its position and an excerpt of the file.
		Text string `json:"text"`
	}

	// BuildStarted says that Nix has begun to build a derivation.
	BuildStarted struct {
		System     matrix.System `json:"system"`
		Derivation nix.StorePath `json:"derivation,omitempty"`
	}

	// BuildPhase says that a build has begun a phase, such as "checkPhase".
	BuildPhase struct {
		System     matrix.System `json:"system"`
		Derivation nix.StorePath `json:"derivation,omitempty"`
		Phase      string        `json:"phase"`
	}

	// BuildLine is a line of a build's log.
	BuildLine struct {
		System     matrix.System `json:"system"`
		Derivation nix.StorePath `json:"derivation,omitempty"`
		Phase      string        `json:"phase,omitempty"`
		Text       string        `json:"text"`
	}

	// BuildFinished says that a build has ended.
	BuildFinished struct {
		System     matrix.System `json:"system"`
		Derivation nix.StorePath `json:"derivation,omitempty"`
		// Machine is the remote builder, as Nix names it; empty for a local build.
		Machine string  `json:"machine,omitempty"`
		Seconds float64 `json:"seconds"`
		// Failure is nil if the build succeeded.
		Failure *Failure `json:"failure,omitempty"`
		// Log is the file with the whole log; empty if the build wrote nothing.
		Log string `json:"log,omitempty"`
		// Tail is the end of the log: at most 25 lines.
		Tail []string `json:"tail,omitempty"`
	}

	// BuildStalled says that a build has written nothing for a while.
	BuildStalled struct {
		System     matrix.System `json:"system"`
		Derivation nix.StorePath `json:"derivation,omitempty"`
		Silent     float64       `json:"silentSeconds"`
		Tail       []string      `json:"tail,omitempty"`
	}

	// Fetched is the progress of a cell's downloads. The cell's plan has the total.
	Fetched struct {
		System matrix.System `json:"system"`
		Bytes  int64         `json:"bytes"`
		Paths  int           `json:"paths"`
	}

	// Checked has the results of the contract's checks: of a system, or of the flake's files if System is empty.
	Checked struct {
		System  matrix.System     `json:"system,omitempty"`
		Results []contract.Result `json:"results"`
		// WarnOnly is true if failed checks do not fail the run.
		WarnOnly bool `json:"warnOnly,omitempty"`
	}

	// HashWrong says that a fetch has another hash than the flake states, and where the flake states it.
	HashWrong struct {
		System matrix.System `json:"system"`
		contract.Mismatch
	}

	// DownloadsFailed has the downloads of a build that failed for the same reason.
	DownloadsFailed struct {
		System matrix.System `json:"system"`
		FailedDownloads
	}

	// LogTail is the end of a build log of an earlier run.
	LogTail struct {
		System     matrix.System `json:"system"`
		Derivation nix.StorePath `json:"derivation"`
		Tail       []string      `json:"tail"`
	}

	// LastRelease has the packages of the last release, to show the changes since.
	LastRelease struct {
		// From is the source of this information: a manifest, or the pins of a cache.
		From     string        `json:"from"`
		Packages []LastPackage `json:"packages"`
	}

	// Exported is the progress of an export in uncompressed bytes.
	Exported struct {
		System matrix.System `json:"system"`
		Bytes  int64         `json:"bytes"`
		Of     int64         `json:"of"`
	}

	// Uploaded is the progress of a push.
	Uploaded struct {
		System matrix.System `json:"system"`
		PushProgress
	}

	// Notice is a line for the user.
	Notice struct {
		System matrix.System `json:"system,omitempty"`
		Level  Level         `json:"level"`
		Text   string        `json:"text"`
		Hint   string        `json:"hint,omitempty"`
	}

	// RunFinished is the last event of a run.
	RunFinished struct {
		Seconds  float64   `json:"seconds"`
		Manifest *Manifest `json:"manifest,omitempty"`
		// Path is the manifest's file; empty if none was written.
		Path string `json:"path,omitempty"`
	}
)

// LastPackage is a package of the last release.
type LastPackage struct {
	System  matrix.System  `json:"system"`
	Package matrix.Package `json:"package"`
	// ClosureBytes is the size of the runtime closure of all Outputs, in bytes of NARs; 0 if it is not known.
	ClosureBytes int64 `json:"closureBytes,omitempty"`
	Outputs      int   `json:"outputs,omitempty"`
	// Derivation and Seconds are empty if they are not known.
	Derivation nix.StorePath `json:"derivation,omitempty"`
	Seconds    float64       `json:"seconds,omitempty"`
}

// Level says how much a notice matters.
type Level string

// The levels of a notice.
const (
	Info    Level = "info"
	Warning Level = "warning"
)

func (RunStarted) event()      {}
func (StepStarted) event()     {}
func (StepFinished) event()    {}
func (Planned) event()         {}
func (BuildStarted) event()    {}
func (BuildPhase) event()      {}
func (BuildLine) event()       {}
func (BuildFinished) event()   {}
func (BuildStalled) event()    {}
func (Fetched) event()         {}
func (Checked) event()         {}
func (HashWrong) event()       {}
func (DownloadsFailed) event() {}
func (LogTail) event()         {}
func (LastRelease) event()     {}
func (Exported) event()        {}
func (Uploaded) event()        {}
func (Notice) event()          {}
func (RunFinished) event()     {}
func (PackageFailed) event()   {}
