package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ManifestVersion is the version of the manifest's schema, documented in docs/manifest.md.
const ManifestVersion = 1

// Manifest is the record of a run: enough to reproduce it and to compare with it.
// All but times, seconds and the directory of the logs is the same for two runs of the same snapshot on the same engine.
type Manifest struct {
	Version int    `json:"version"`
	Tool    string `json:"tool"`
	Command string `json:"command"`
	// Started and Finished are in UTC, to the second.
	Started  string `json:"started"`
	Finished string `json:"finished"`
	// Logs is the directory of the run's build logs, which bears its time: OUT/logs/<run>.
	Logs   string   `json:"logs,omitempty"`
	Source Snapshot `json:"source"`
	// Contract is what the checks of the flake's files found; those of what was built are with their cells.
	Contract []contract.Result `json:"contract,omitempty"`
	Cells    []CellResult      `json:"cells"`
}

// CellResult is what came of a cell.
type CellResult struct {
	System matrix.System `json:"system"`
	// Verdict is "built", "served" (a cache had every output, so that no engine was started) or "failed".
	Verdict Verdict `json:"verdict"`
	// Engine is nil where none was needed or none answered.
	Engine *Engine `json:"engine,omitempty"`
	// Emulated says that the builders ran under an emulator.
	Emulated bool `json:"emulated"`
	// Sandbox is nil where nothing was built, so that no sandbox was tried.
	Sandbox *bool `json:"sandbox,omitempty"`
	// Memlock is the most memory in bytes that a builder could lock, measured in the smoke step; -1 is without limit.
	Memlock  *int64          `json:"memlock,omitempty"`
	Packages []PackageResult `json:"packages"`
	// Contract is what the checks of the contract found; empty where there is none, or nothing was built.
	Contract []contract.Result `json:"contract,omitempty"`
	// Mismatches are the fetches whose hash was wrong, with the lines of the flake that hold it.
	Mismatches []contract.Mismatch `json:"mismatches,omitempty"`
	// Plan is of a preview alone.
	Plan    *Plan   `json:"plan,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
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
	Outputs    []Output       `json:"outputs,omitempty"`
	// ClosureBytes and ClosurePaths measure the runtime closure of all outputs, in bytes of NARs.
	ClosureBytes int64    `json:"closureBytes,omitempty"`
	ClosurePaths int      `json:"closurePaths,omitempty"`
	Seconds      float64  `json:"seconds,omitempty"`
	Failure      *Failure `json:"failure,omitempty"`
	Log          string   `json:"log,omitempty"`
	// ServedBy is the cache that has the outputs, where the verdict is "served".
	ServedBy string `json:"servedBy,omitempty"`
}

// Output is an output of a package, such as "out" or "dev".
type Output struct {
	Name string        `json:"name"`
	Path nix.StorePath `json:"path"`
	// NARHash is in SRI form; it and NARSize are empty where the outputs were served and never fetched.
	NARHash string `json:"narHash,omitempty"`
	NARSize int64  `json:"narSize,omitempty"`
}

// Failure says why a build failed.
type Failure struct {
	Kind FailureKind `json:"kind"`
	// Message is Nix's own reason on one line.
	Message string `json:"message"`
	// Phase is the phase that the build had come to.
	Phase    string `json:"phase,omitempty"`
	ExitCode int    `json:"exitCode,omitempty"`
}

// FailureKind tells a builder's own failure from what befell it.
type FailureKind string

// The kinds of failure. A builder's own failure and a wrong hash are never retried.
const (
	BuilderFailed      FailureKind = "builder failed"
	OutOfMemory        FailureKind = "out of memory"
	DiskFull           FailureKind = "disk full"
	SubstituterFailed  FailureKind = "substituter failed"
	TimedOut           FailureKind = "timed out"
	HashMismatch       FailureKind = "hash mismatch"
	DependencyFailed   FailureKind = "dependency failed"
	Interrupted        FailureKind = "interrupted"
	EngineLost         FailureKind = "engine lost"
	UnsupportedFailure FailureKind = "no machine for its system"
	UnknownFailure     FailureKind = "failed"
)

// Plan is what Nix is going to do for a cell.
type Plan struct {
	// Build is the derivations that will be built.
	Build []nix.StorePath `json:"build"`
	// Fetch is the paths that will be downloaded.
	Fetch []nix.StorePath `json:"fetch"`
	// FetchBytes is the size of the downloads, UnpackedBytes what they need on disk.
	FetchBytes    int64 `json:"fetchBytes"`
	UnpackedBytes int64 `json:"unpackedBytes"`
}

// manifest ends the story: it writes down what came of it.
func (r *Release) manifest(ctx context.Context, started time.Time, s Snapshot, checked []contract.Result, cells []CellResult) (*Manifest, error) {
	m := &Manifest{
		Version: ManifestVersion, Tool: r.Tool, Command: r.Command,
		Started: timestamp(started), Finished: timestamp(r.Now()), Logs: r.LogDir, Source: s, Contract: checked, Cells: cells,
	}
	err := r.step(ctx, StepManifest, "", func() (string, error) {
		data, err := json.MarshalIndent(m, "", "  ")
		if err == nil {
			err = os.MkdirAll(filepath.Dir(r.ManifestFile), 0o755)
		}
		if err == nil {
			err = writeFile(r.ManifestFile, append(data, '\n'))
		}
		if err != nil {
			return "", fmt.Errorf("write manifest %s: %v", r.ManifestFile, err)
		}
		return r.ManifestFile, nil
	})
	r.event(RunFinished{Seconds: seconds(r.Now().Sub(started)), Manifest: m, Path: r.ManifestFile})
	return m, err
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
