package run

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// The reasons of a failed download. "HTTP status …" is one more.
const (
	NoHost       = "could not resolve host"
	NoNetwork    = "no network"
	NoConnection = "could not connect"
	NoTLS        = "no valid TLS certificate"
	TooSlow      = "the server is too slow"
	NoMirror     = "no mirror has it"
)

// FailedDownloads are the fixed-output derivations of a cell that could not be downloaded for the same reason.
type FailedDownloads struct {
	Reason      string          `json:"reason"`
	Derivations []nix.StorePath `json:"derivations"`
}

func (d FailedDownloads) String() string {
	return fmt.Sprintf("%s failed: %s", Count(len(d.Derivations), "download"), d.Reason)
}

// Specificity orders kinds by how much they explain: an unknown failure explains least, then a failed dependency.
func (k FailureKind) Specificity() int {
	switch k {
	case UnknownFailure:
		return 1
	case DependencyFailed:
		return 2
	}
	return 3
}

// Ending describes a failure by what is the same each time: kind, phase and exit code.
func (f *Failure) Ending() string {
	text := string(f.Kind)
	if f.Phase != "" {
		text += " in " + f.Phase
	}
	if f.ExitCode != 0 {
		text += fmt.Sprintf(", exit code %d", f.ExitCode)
	}
	return text
}

// kinds has advice about failures that are not the builder's own. OfMachine means that the machine or an interruption is the
// cause, so that another command would fail too.
var kinds = map[FailureKind]struct {
	ofMachine bool
	hint      string
}{
	OutOfMemory:       {true, "the kernel killed it because memory ran out: use fewer --jobs, or a machine with more memory"},
	Killed:            {true, "look in the kernel's log for the sender of signal 9: dmesg | grep -i kill"},
	DiskFull:          {true, "make room where Nix keeps its store and builds: nix-collect-garbage; on a Dagger engine: dagger core engine local-cache prune"},
	SubstituterFailed: {true, "a binary cache did not answer; the build itself is not at fault: run the same command again"},
	TimedOut:          {true, "raise Nix's time limits in nix.conf: timeout, max-silent-time"},
	Interrupted:       {true, ""},
	LogLimit:          {false, "raise Nix's limit of a log in nix.conf: max-build-log-size"},
	BuilderLost:       {false, "a remote builder went away twice, and the build itself is not at fault: look at the builder, or leave it out of --builders"},
	EngineLost:        {true, "the engine went away: look at its log, start it if it has ended, and run the same command again"},
}

// Hint returns advice about a failure that is not the builder's own; empty if there is none.
func (f *Failure) Hint() string {
	const again = "; the packages are not at fault: run the same command again"
	switch {
	case f.Kind != DownloadFailed:
		return kinds[f.Kind].hint
	case f.Reason == NoHost:
		return "check the network and the name servers of the machine that builds" + again
	case f.Reason == NoTLS:
		return "check the clock and the certificates of the machine that builds (NIX_SSL_CERT_FILE)"
	case strings.HasPrefix(f.Reason, "HTTP status 4"), f.Reason == NoMirror:
		return "look whether the URL is still there; its new place goes into the package, or a cache has what it downloads (--substituter)"
	}
	return "check the network of the machine that builds, and its proxy (https_proxy)" + again
}

// IsOfMachine reports whether the machine or an interruption is the cause, so that another command would fail too.
func (f *Failure) IsOfMachine() bool { return kinds[f.Kind].ofMachine }

// Failure says why a build failed.
type Failure struct {
	Kind FailureKind `json:"kind"`
	// Message is Nix's reason on one line.
	Message string `json:"message"`
	// Phase is the phase in which the build failed.
	Phase    string `json:"phase,omitempty"`
	ExitCode int    `json:"exitCode,omitempty"`
	// Derivation is the dependency that failed; empty if the package's own build failed.
	Derivation nix.StorePath `json:"derivation,omitempty"`
	// Reason says in a few words why a download failed.
	Reason string `json:"reason,omitempty"`
	// Remark is an observation that may explain the failure.
	Remark string `json:"remark,omitempty"`
	// At is the line of the flake that the log names, or else the line that defines the package.
	At *Line `json:"at,omitempty"`
}

// FailureKind separates failures of a builder from failures of its machine, of a cache and of the run.
type FailureKind string

// The kinds of failure. A failure of a builder and a wrong hash are never retried.
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
