package run

import (
	"fmt"
	"strings"
)

// Machine is a machine that may build for a cell, as the smoke step measured it.
// What was measured is nil or empty for a machine that Nix used although it was not measured.
type Machine struct {
	// Builder is the store URI of a remote builder; empty for the engine's own machine.
	Builder string `json:"builder,omitempty"`
	// Processor and Kernel are what uname says: "x86_64", "6.1.0".
	Processor string `json:"processor,omitempty"`
	Kernel    string `json:"kernel,omitempty"`
	Cores     int    `json:"cores,omitempty"`
	Emulated  bool   `json:"emulated"`
	// Sandbox is whether builders are kept from all but their inputs, and from changing those.
	Sandbox *bool `json:"sandbox,omitempty"`
	// WritableInputs says that builders can change their inputs, which are those of other builds too: there are no build
	// users. Such a machine has no Sandbox, even where Nix has set one up.
	WritableInputs bool `json:"writableInputs,omitempty"`
	// Memlock is the most memory in bytes that a build may lock; -1 is without limit.
	Memlock *int64 `json:"memlock,omitempty"`
	// Built counts the derivations that it built in this run: packages and their dependencies.
	Built int `json:"built"`
	// InSandbox is whether Nix has set up its sandbox, whatever a builder can do in it.
	InSandbox bool `json:"-"`
}

// Sandboxed reports whether the machine is known to build in a sandbox.
func (m Machine) Sandboxed() bool { return m.Sandbox != nil && *m.Sandbox }

// On names the machine in a sentence; the engine's own needs no name.
func (m Machine) On() string {
	if m.Builder == "" {
		return ""
	}
	return " on " + m.Builder
}

func (m Machine) String() string {
	sandbox := onOff(m.Sandboxed())
	if m.WritableInputs {
		sandbox += " (builders can change their inputs)"
	}
	text := fmt.Sprintf("%s builder, sandbox %s, memlock %s", m.Processor, sandbox, BytesOrUnlimited(*m.Memlock))
	if m.Emulated && m.Builder != "" { // of the engine's own machine, the preflight step says it
		text += ", emulated"
	}
	if m.Builder != "" {
		text = m.Builder + ": " + text
	}
	return text
}

func WithoutParameters(uri string) string {
	base, _, _ := strings.Cut(uri, "?")
	return strings.TrimRight(base, "/")
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func BytesOrUnlimited(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
