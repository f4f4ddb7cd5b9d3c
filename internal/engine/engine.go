package engine

import (
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Engine describes an engine.
type Engine struct {
	// Kind is "host" or "dagger".
	Kind string `json:"kind"`
	// Version is the engine's own version; empty for a host, which only has the version of Nix.
	Version string `json:"version,omitempty"`
	// Image is the container image by digest; empty for a host.
	Image string      `json:"image,omitempty"`
	Nix   nix.Version `json:"nix"`
	// Native is the system of the engine's processor.
	Native matrix.System `json:"native"`
	// Emulator is how a foreign system runs: "binfmt" by an entry of the kernel, "container" in a container of the foreign
	// platform. It is empty if the system is native or nothing runs it.
	Emulator string `json:"emulator,omitempty"`
	// Compatible is true if the system is not Native, and the processor runs its programs without emulation: that of
	// x86_64-linux runs those of i686-linux.
	Compatible bool `json:"compatible,omitempty"`
	// EmulatorVersion is the version that the emulator prints, such as "qemu-aarch64 version 7.2.22". It is empty if the
	// emulator is on another machine.
	EmulatorVersion string `json:"emulatorVersion,omitempty"`
	// Kernel is the release of the kernel, which every builder sees.
	Kernel string `json:"kernel,omitempty"`
	// Evaluation is how evaluation is restricted on this machine: "isolated" if it sees only files that Nix needs,
	// "restricted" if only restrict-eval and the protocols of the fetchers restrict it. Empty for a container, which has no
	// files of the machine.
	Evaluation string `json:"evaluation,omitempty"`
	// Cores is the number of processors.
	Cores int `json:"cores"`
	// SandboxPaths are files of the machine that builders see by its nix.conf; empty for a container, whose files are those
	// of its image.
	SandboxPaths []string `json:"sandboxPaths,omitempty"`
	// FreeBytes is the free space of the file system that holds the store; 0 if it is not known.
	FreeBytes int64 `json:"-"`
	// Ignored are substituters that this Nix ignores, because it does not trust the user.
	Ignored []string `json:"-"`
	// Refused is why this engine does not build for the system, although the system's programs run on it.
	Refused error `json:"-"`
	// Notes are warnings for the user about this engine.
	Notes []string `json:"-"`
}

// Runs reports whether the engine's own machine can build for a system.
func (e Engine) Runs(system matrix.System) bool {
	return e.Native == system || e.Compatible || e.Emulator != ""
}
