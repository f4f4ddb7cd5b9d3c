package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Line is a line of a file of the flake's tree.
type Line struct {
	// File is relative to the tree, as a forge shows it.
	File string `json:"file"`
	Line int    `json:"line"`
}

// The reasons of a failed download, but for "HTTP status …".
const (
	NoHost       = "could not resolve host"
	NoNetwork    = "no network"
	NoConnection = "could not connect"
	NoTLS        = "no valid TLS certificate"
	TooSlow      = "the server is too slow"
	NoMirror     = "no mirror has it"
)

// downloadHint says what to do about a download that failed for a reason.
func downloadHint(reason string) string {
	const again = "; the packages are not at fault: run the same command again"
	switch {
	case reason == NoHost:
		return "check the network and the name servers of the machine that builds" + again
	case reason == NoTLS:
		return "check the clock and the certificates of the machine that builds (NIX_SSL_CERT_FILE)"
	case strings.HasPrefix(reason, "HTTP status 4"), reason == NoMirror:
		return "look whether the URL is still there; its new place goes into the package, or a cache has what it downloads (--substituter)"
	}
	return "check the network of the machine that builds, and its proxy (https_proxy)" + again
}

// FailedDownloads are the fixed-output derivations of a cell that could not be downloaded for the same reason.
type FailedDownloads struct {
	Reason      string          `json:"reason"`
	Derivations []nix.StorePath `json:"derivations"`
}

func (d FailedDownloads) String() string {
	return fmt.Sprintf("%s failed: %s", Count(len(d.Derivations), "download"), d.Reason)
}

// Weight says how much a kind tells: an error that is not understood tells less than that a dependency has failed, and
// that less than anything else.
func (k FailureKind) Weight() int {
	switch k {
	case UnknownFailure:
		return 1
	case DependencyFailed:
		return 2
	}
	return 3
}

// Ending is how a build has ended, as far as it should be the same each time: kind, phase and exit code.
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

// Hint says what to do about a failure that is not the builder's own; empty where there is nothing to say.
func (f *Failure) Hint() string {
	switch f.Kind {
	case OutOfMemory:
		return "the kernel ended it for want of memory: give fewer --jobs, or the machine more memory"
	case Killed:
		return "look into the kernel's log for who sent signal 9: dmesg | grep -i kill"
	case DiskFull:
		return "make room where Nix keeps its store and builds: nix-collect-garbage; on a Dagger engine: dagger core engine local-cache prune"
	case SubstituterFailed:
		return "a binary cache did not answer; the build itself is not at fault: run the same command again"
	case DownloadFailed:
		return downloadHint(f.Reason)
	case TimedOut:
		return "raise Nix's time limits in nix.conf: timeout, max-silent-time"
	case LogLimit:
		return "raise Nix's limit of a log in nix.conf: max-build-log-size"
	case BuilderLost:
		return "a remote builder went away twice, and the build itself is not at fault: look at the builder, or leave it out of --builders"
	case EngineLost:
		return "the engine went away: look at its log, start it if it has ended, and run the same command again"
	}
	return ""
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

// OfMachine says whether the machine is at fault, or whoever has ended the run, so that another command would end in the
// same way.
func (f *Failure) OfMachine() bool {
	return slices.Contains([]FailureKind{EngineLost, Killed, OutOfMemory, DiskFull, SubstituterFailed, Interrupted, TimedOut}, f.Kind)
}
