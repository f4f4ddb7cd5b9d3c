package pipelines

import (
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// probed is the result of the probe step. It has no machines if nothing was measured.
type probed struct {
	machines []run.Machine
	builders []nix.Builder // the remote ones of the machines
	sandbox  *bool         // whether all machines that built something have a sandbox; nil if unknown
}

// here is the engine's own machine; nil if it builds nothing.
func (p probed) here() *run.Machine {
	i := slices.IndexFunc(p.machines, func(m run.Machine) bool { return m.Builder == "" })
	if i < 0 {
		return nil
	}
	return &p.machines[i]
}

// weakest is the weakest sandbox of all machines.
func (p probed) weakest() record.Sandbox {
	weakest := record.SandboxOn
	for _, m := range p.machines {
		switch {
		case m.WritableInputs:
			return record.WritableInputs
		case !m.Sandboxed():
			weakest = record.SandboxOff
		}
	}
	return weakest
}

// settings let only the measured machines build, with the sandbox that was measured.
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

// setMachines sets which machines built, and what is true of all of them together.
func (c *cell) setMachines() {
	to := &c.result
	to.Machines = slices.Clone(c.probed.machines)
	if to.Work != nil {
		for builder, n := range to.Work.By {
			to.Machine(builder).Built += n
		}
	}
	used := slices.DeleteFunc(slices.Clone(to.Machines), func(m run.Machine) bool { return m.Built == 0 })
	if here := c.probed.here(); len(used) == 0 && here != nil {
		used = []run.Machine{*here} // it makes second builds
	} else if len(used) == 0 {
		used = to.Machines
	}
	if len(used) == 0 {
		return
	}
	sandbox := true
	to.Emulated, to.Memlock, to.WritableInputs = false, nil, false
	for _, m := range used {
		to.WritableInputs = to.WritableInputs || m.WritableInputs
		sandbox = sandbox && m.Sandboxed()
		to.Emulated = to.Emulated || m.Emulated
		if m.Memlock != nil && (to.Memlock == nil || lessMemlock(*m.Memlock, *to.Memlock)) {
			to.Memlock = m.Memlock
		}
	}
	to.Sandbox = &sandbox
}

// lessMemlock compares limits; -1 is the highest.
func lessMemlock(a, b int64) bool { return b < 0 && a >= 0 || a >= 0 && a < b }
