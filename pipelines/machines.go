package pipelines

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
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

// sandboxed reports whether the machine is known to build in a sandbox.
func (m Machine) sandboxed() bool { return m.Sandbox != nil && *m.Sandbox }

// on names the machine in a sentence; the engine's own needs no name.
func (m Machine) on() string {
	if m.Builder == "" {
		return ""
	}
	return " on " + m.Builder
}

func (m Machine) String() string {
	sandbox := onOff(m.sandboxed())
	if m.WritableInputs {
		sandbox += " (builders can change their inputs)"
	}
	text := fmt.Sprintf("%s builder, sandbox %s, memlock %s", m.Processor, sandbox, bytesOrUnlimited(*m.Memlock))
	if m.Emulated && m.Builder != "" { // of the engine's own machine, the preflight step says it
		text += ", emulated"
	}
	if m.Builder != "" {
		text = m.Builder + ": " + text
	}
	return text
}

// probed is what the smoke step measured. It has no machines where nothing was tried.
type probed struct {
	machines []Machine
	builders []nix.Builder // the remote ones of the machines
	sandbox  *bool         // whether all machines that built something have a sandbox; nil where that is not known
}

// here is the engine's own machine; nil where it does not build.
func (p probed) here() *Machine {
	i := slices.IndexFunc(p.machines, func(m Machine) bool { return m.Builder == "" })
	if i < 0 {
		return nil
	}
	return &p.machines[i]
}

// settings let the measured machines build, as they were measured, and no others.
func (p probed) settings() nix.Settings {
	if len(p.machines) == 0 {
		return nil
	}
	here := p.here()
	s := sandboxSettings(here == nil || here.InSandbox).With(nix.Settings{"builders": nix.FormatBuilders(p.builders)})
	if here == nil {
		s["max-jobs"] = "0"
	}
	return s
}

func (p probed) privileged() bool {
	here := p.here()
	return here != nil && here.InSandbox
}

func (p probed) String() string {
	texts := make([]string, len(p.machines))
	for i, m := range p.machines {
		texts[i] = m.String()
	}
	return strings.Join(texts, "; ")
}

// setMachines records which machines built, and what is true of all of them together.
func (c *CellResult) setMachines(p probed, work *Work) {
	c.Machines = slices.Clone(p.machines)
	if work != nil {
		for builder, n := range work.by {
			c.machine(builder).Built += n
		}
	}
	used := slices.DeleteFunc(slices.Clone(c.Machines), func(m Machine) bool { return m.Built == 0 })
	if here := p.here(); len(used) == 0 && here != nil {
		used = []Machine{*here} // it makes second builds
	} else if len(used) == 0 {
		used = c.Machines
	}
	if len(used) == 0 {
		return
	}
	sandbox := true
	c.Emulated, c.Memlock, c.writableInputs = false, nil, false
	for _, m := range used {
		c.writableInputs = c.writableInputs || m.WritableInputs
		sandbox = sandbox && m.sandboxed()
		c.Emulated = c.Emulated || m.Emulated
		if m.Memlock != nil && (c.Memlock == nil || lessMemlock(*m.Memlock, *c.Memlock)) {
			c.Memlock = m.Memlock
		}
	}
	c.Sandbox = &sandbox
}

// lessMemlock compares limits, of which -1 is the highest.
func lessMemlock(a, b int64) bool { return b < 0 && a >= 0 || a >= 0 && a < b }

// machine returns the machine that Nix names in its log, by its whole URI or by all but the parameters, which new versions
// write in their own way. One that was not measured is added.
func (c *CellResult) machine(builder string) *Machine {
	name := nix.Redact(builder)
	if i := slices.IndexFunc(c.Machines, func(m Machine) bool { return m.Builder == name }); i >= 0 {
		return &c.Machines[i]
	}
	found := -1
	for i, m := range c.Machines {
		if m.Builder == "" || withoutParameters(m.Builder) != withoutParameters(name) {
			continue
		}
		if found >= 0 {
			found = -1 // either may be meant
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

func withoutParameters(uri string) string {
	base, _, _ := strings.Cut(uri, "?")
	return strings.TrimRight(base, "/")
}

// machinesWithWritableInputs names the machines that built something, and whose builders can change their inputs.
func (c *CellResult) machinesWithWritableInputs() (names []string) {
	for _, m := range c.Machines {
		if m.Built > 0 && m.WritableInputs {
			names = append(names, m.on())
		}
	}
	return names
}

// unsandboxedMachines names the machines that built something without a sandbox, or without being measured.
func (c *CellResult) unsandboxedMachines() (names []string) {
	for _, m := range c.Machines {
		if m.Built > 0 && !m.sandboxed() {
			names = append(names, m.on())
		}
	}
	return names
}

// builderOf is the remote builder that built a package in this run, as far as Nix's log names it.
func (l *buildLog) builderOf(p *PackageResult) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.builds[p.Derivation]
	if b == nil || p.Verdict != Built {
		return ""
	}
	return nix.Redact(b.machine)
}
