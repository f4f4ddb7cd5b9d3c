package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
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
	// Outcome is the end of the run in one word. A run that did not come to its end, such as a killed one, has no manifest.
	Outcome Outcome `json:"outcome,omitempty"`
	// Started and Finished are in UTC, to the second.
	Started  string `json:"started"`
	Finished string `json:"finished"`
	// Logs is the directory of the run's build logs, which bears its time: OUT/logs/<run>.
	Logs   string   `json:"logs,omitempty"`
	Source Snapshot `json:"source"`
	// Inputs are what the flake's inputs are locked to, as they took part: those that were overridden are in Source.Overrides.
	Inputs []flake.Input `json:"inputs,omitempty"`
	// Settings are those that every command of Nix was given.
	Settings nix.Settings `json:"settings,omitempty"`
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
	checked, exported bool
	// writableInputs says that a machine which built something has builders that can change their inputs.
	writableInputs bool
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

// Failure says why a build failed.
type Failure struct {
	Kind FailureKind `json:"kind"`
	// Message is Nix's own reason on one line.
	Message string `json:"message"`
	// Phase is the phase that the build had come to.
	Phase    string `json:"phase,omitempty"`
	ExitCode int    `json:"exitCode,omitempty"`
	// Derivation is the dependency that failed; empty where the package's own build did.
	Derivation nix.StorePath `json:"derivation,omitempty"`
	// Reason is why a download failed, in a few words.
	Reason string `json:"reason,omitempty"`
	// Remark is what else was seen that may have to do with it.
	Remark string `json:"remark,omitempty"`
	// At is the line of the flake's tree that the log blames, or else the one that defines the package.
	At *Line `json:"at,omitempty"`
}

// FailureKind tells a builder's own failure from what befell it.
type FailureKind string

// The kinds of failure. A builder's own failure and a wrong hash are never retried.
const (
	EvaluationFailed   FailureKind = "evaluation failed" // no derivation: it does not evaluate, or the flake lacks it
	BuilderFailed      FailureKind = "builder failed"
	OutputRefused      FailureKind = "output refused"
	Killed             FailureKind = "killed"
	OutOfMemory        FailureKind = "out of memory"
	DiskFull           FailureKind = "disk full"
	SubstituterFailed  FailureKind = "substituter failed"
	DownloadFailed     FailureKind = "download failed"
	TimedOut           FailureKind = "timed out"
	LogLimit           FailureKind = "log too long"
	HashMismatch       FailureKind = "hash mismatch"
	NotReproducible    FailureKind = "not reproducible"
	DependencyFailed   FailureKind = "dependency failed"
	Interrupted        FailureKind = "interrupted"
	EngineLost         FailureKind = "engine lost"
	BuilderLost        FailureKind = "builder lost"
	UnsupportedFailure FailureKind = "no machine for its system"
	Unfinished         FailureKind = "not finished"
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
	// Push is what would be published then; absent where nothing would.
	Push *PushPlan `json:"push,omitempty"`
}

// maxManifest bounds what is read as a manifest: one of a hundred cells has some hundred KiB.
const maxManifest = 64 << 20

// ReadManifest reads the manifest of an earlier run. One of another version of the schema is refused:
// what it does not say could be taken for something that was not so.
func ReadManifest(file string) (*Manifest, error) {
	m, err := readManifest(file)
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", file, err)
	}
	return m, nil
}

func readManifest(file string) (*Manifest, error) {
	data, err := regular.Read(file, maxManifest)
	if err != nil {
		return nil, errors.Unwrap(err) // the name is said already
	}
	return parseManifest(data)
}

func parseManifest(data []byte) (*Manifest, error) {
	var version struct {
		Version *int `json:"version"`
	}
	if err := regular.UnmarshalJSON(data, &version); err != nil {
		return nil, fmt.Errorf("it is not whole, or no JSON: %v", err)
	}
	if version.Version == nil {
		return nil, errors.New("it has no version: it is not a manifest")
	}
	if *version.Version != ManifestVersion {
		return nil, hint.Wrap(fmt.Errorf("it is of version %d, and this program knows version %d", *version.Version, ManifestVersion),
			"use the version of this program that its field \"tool\" names")
	}
	m := new(Manifest)
	if err := regular.UnmarshalJSON(data, m); err != nil {
		return nil, fmt.Errorf("it has been altered: %v", err)
	}
	return m, m.validate()
}

// validate looks at what others parse no more.
func (m *Manifest) validate() error {
	for _, cell := range m.Cells {
		if _, err := matrix.ParseSystem(string(cell.System)); err != nil {
			return err
		}
		for _, p := range cell.Packages {
			if _, err := matrix.ParsePackage(string(p.Package)); err != nil {
				return err
			}
			for _, o := range p.Outputs {
				if _, err := nix.ParseStorePath(string(o.Path)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// manifest ends the story: it writes down what came of it.
func (r *Release) manifest(ctx context.Context, started time.Time, s Snapshot, checked []contract.Result, cells []CellResult, runErr error) (*Manifest, error) {
	m := &Manifest{
		Version: ManifestVersion, Tool: r.Tool, Command: r.Command, Outcome: outcome(ctx, runErr),
		Started: timestamp(started), Finished: timestamp(r.Now()), Logs: r.Logs.Name(), Source: s,
		Inputs: r.inputs(s), Settings: redacted(r.Settings), Contract: checked, Cells: cells,
	}
	for i := range m.Cells {
		m.Cells[i].Job = r.Job
	}
	m.settle()
	return m, r.conclude(ctx, started, m)
}

// conclude writes the manifest into its file, and tells that the run is at its end.
func (r *Release) conclude(ctx context.Context, started time.Time, m *Manifest) error {
	// An interrupted run is written down too.
	err := r.step(context.WithoutCancel(ctx), StepManifest, "", func() (string, error) {
		data, err := printable.JSON(m, "  ")
		if err == nil {
			err = r.ManifestFile.Write(data)
		}
		if err != nil {
			return "", fmt.Errorf("write manifest %s: %v", r.ManifestFile.Path(), err)
		}
		return r.ManifestFile.Path(), nil
	})
	r.event(RunFinished{Seconds: seconds(r.Now().Sub(started)), Manifest: m, Path: r.ManifestFile.Path()})
	return err
}

// inputs returns the flake's locked inputs. Where the lock cannot be read, evaluation has failed before.
func (r *Release) inputs(s Snapshot) []flake.Input {
	lock, err := flake.ReadLock(flakeDir(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a flake without inputs needs none
	}
	var inputs []flake.Input
	if err == nil {
		inputs, err = lock.Inputs(func(name string) bool { _, ok := s.Overrides[name]; return ok })
	}
	if err != nil {
		r.event(Notice{Level: Warning, Text: fmt.Sprintf("note inputs in the manifest: %v", err)})
	}
	return inputs
}

// redacted takes credentials out of the URLs in settings, such as of substituters.
func redacted(settings nix.Settings) nix.Settings {
	clean := nix.Settings{}
	for name, value := range settings {
		clean[name] = nix.Redact(value)
	}
	return clean
}

// settle says of outputs that were not rebuilt that nothing is known of them, rather than nothing.
func (m *Manifest) settle() {
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			for i := range p.Outputs {
				if p.Outputs[i].Rebuild == "" {
					p.Outputs[i].Rebuild = Unknown
				}
			}
		}
	}
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
