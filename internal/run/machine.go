package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Machine is a machine that may build for a cell, as the probe step measured it. The measurements are nil or empty for a
// machine that Nix used and that was not measured.
type Machine struct {
	// Builder is the store URI of a remote builder; empty for the engine's own machine.
	Builder string `json:"builder,omitempty"`
	// Processor and Kernel are the values of uname: "x86_64", "6.1.0".
	Processor string `json:"processor,omitempty"`
	Kernel    string `json:"kernel,omitempty"`
	Cores     int    `json:"cores,omitempty"`
	Emulated  bool   `json:"emulated"`
	// Sandbox is true if builders see nothing but their inputs, and cannot change them.
	Sandbox *bool `json:"sandbox,omitempty"`
	// WritableInputs is true if builders can change their inputs, which other builds use too: there are no build users.
	// Sandbox is false on such a machine, even with Nix's own sandbox.
	WritableInputs bool `json:"writableInputs,omitempty"`
	// Memlock is how many bytes of memory a build may lock; -1 means no limit.
	Memlock *int64 `json:"memlock,omitempty"`
	// Built counts the derivations that the machine built in this run, dependencies included.
	Built int `json:"built"`
	// InSandbox is true if Nix has set up its sandbox.
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
	if m.Emulated && m.Builder != "" { // the preflight step reports that of the engine's own machine
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

// Machine returns the machine that Nix names in its log. The name is the whole URI, or the URI without its parameters,
// which new versions write in another form. It adds a machine that was not measured.
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
			found = -1 // it can be either
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
