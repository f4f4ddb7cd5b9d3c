package run

import (
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Event is something that a run tells its reporters. Its dynamic type is one of those in this file.
// A System is empty where an event is about the whole run.
type Event interface{ event() }

// Step is the name of a part of the run: the same in code, logs, events and manifest.
type Step string

// The steps of a run, in the order in which they happen.
const (
	StepSnapshot  Step = "snapshot"
	StepPreflight Step = "preflight"
	StepEvaluate  Step = "evaluate"
	StepPlan      Step = "plan"
	StepSmoke     Step = "smoke"
	StepBuild     Step = "build"
	StepContract  Step = "contract"
	StepRebuild   Step = "rebuild"
	StepExport    Step = "export"
	StepPush      Step = "push"
	StepConfirm   Step = "confirm"
	StepPin       Step = "pin"
	StepManifest  Step = "manifest"
)

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

	// StepFinished says that it has ended: well, with an error, or skipped for a reason.
	StepFinished struct {
		Step    Step          `json:"step"`
		System  matrix.System `json:"system,omitempty"`
		Seconds float64       `json:"seconds"`
		// Summary is what the step found, in a few words.
		Summary string `json:"summary,omitempty"`
		// Skipped is why the step had nothing to do. A skipped step never counts as one that passed.
		Skipped string `json:"skipped,omitempty"`
		Error   string `json:"error,omitempty"`
		// At is the line of the flake that the error is about, where it can be told.
		At *Line `json:"at,omitempty"`
	}

	// Planned says what Nix is going to do for a cell.
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

	// BuildPhase says that a build has come to a phase, such as "checkPhase".
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
		// Failure is nil where the build succeeded.
		Failure *Failure `json:"failure,omitempty"`
		// Log is the file that holds the whole log; empty where the build said nothing.
		Log string `json:"log,omitempty"`
		// Tail is the end of the log: at most 25 lines.
		Tail []string `json:"tail,omitempty"`
	}

	// BuildStalled says that a build has said nothing for a while.
	BuildStalled struct {
		System     matrix.System `json:"system"`
		Derivation nix.StorePath `json:"derivation,omitempty"`
		Silent     float64       `json:"silentSeconds"`
		Tail       []string      `json:"tail,omitempty"`
	}

	// Fetched is the progress of downloads of a cell. How many bytes there are in all, its plan has said.
	Fetched struct {
		System matrix.System `json:"system"`
		Bytes  int64         `json:"bytes"`
		Paths  int           `json:"paths"`
	}

	// Checked is what came of the contract's checks: of a system, or of the flake's files where the system is empty.
	Checked struct {
		System  matrix.System     `json:"system,omitempty"`
		Results []contract.Result `json:"results"`
		// WarnOnly says that what has failed does not fail the run.
		WarnOnly bool `json:"warnOnly,omitempty"`
	}

	// HashWrong says that a fetch gave something else than the flake's hash, and where the flake has that hash.
	HashWrong struct {
		System matrix.System `json:"system"`
		contract.Mismatch
	}

	// DownloadsFailed sums up the downloads of a build that failed for the same reason.
	DownloadsFailed struct {
		System matrix.System `json:"system"`
		FailedDownloads
	}

	// LogTail is the end of the log of a build that an earlier run has ended with.
	LogTail struct {
		System     matrix.System `json:"system"`
		Derivation nix.StorePath `json:"derivation"`
		Tail       []string      `json:"tail"`
	}

	// LastRelease says what there was of the packages in the last release, for the changes since.
	LastRelease struct {
		// From is where that is known from: a manifest, or the pins of a cache.
		From     string        `json:"from"`
		Packages []LastPackage `json:"packages"`
	}

	// Exported is the progress of an export: uncompressed bytes written, of how many.
	Exported struct {
		System matrix.System `json:"system"`
		Bytes  int64         `json:"bytes"`
		Of     int64         `json:"of"`
	}

	// Uploaded is the progress of a push.
	Uploaded struct {
		System matrix.System `json:"system"`
		Pushing
	}

	// Notice is a line for a person: something was chosen, was lost, or needs attention.
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
		// Path is the manifest's file; empty where none was written.
		Path string `json:"path,omitempty"`
	}
)

// LastPackage is a package of a system as it was in the last release.
type LastPackage struct {
	System  matrix.System  `json:"system"`
	Package matrix.Package `json:"package"`
	// ClosureBytes measures the runtime closure of so many Outputs, in bytes of NARs; 0 where it is not known.
	ClosureBytes int64 `json:"closureBytes,omitempty"`
	Outputs      int   `json:"outputs,omitempty"`
	// Derivation is what was built, in so many Seconds; both are empty where that is not known.
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
