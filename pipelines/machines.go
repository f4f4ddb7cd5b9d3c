package pipelines

import (
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// probed is what the smoke step measured. It has no machines where nothing was tried.
type probed struct {
	machines []run.Machine
	builders []nix.Builder // the remote ones of the machines
	sandbox  *bool         // whether all machines that built something have a sandbox; nil where that is not known
}

// here is the engine's own machine; nil where it does not build.
func (p probed) here() *run.Machine {
	i := slices.IndexFunc(p.machines, func(m run.Machine) bool { return m.Builder == "" })
	if i < 0 {
		return nil
	}
	return &p.machines[i]
}

// weakest is the sandbox of the machine that has the least of one.
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
func setMachines(c *run.CellResult, p probed, work *run.Work) {
	c.Machines = slices.Clone(p.machines)
	if work != nil {
		for builder, n := range work.By {
			c.Machine(builder).Built += n
		}
	}
	used := slices.DeleteFunc(slices.Clone(c.Machines), func(m run.Machine) bool { return m.Built == 0 })
	if here := p.here(); len(used) == 0 && here != nil {
		used = []run.Machine{*here} // it makes second builds
	} else if len(used) == 0 {
		used = c.Machines
	}
	if len(used) == 0 {
		return
	}
	sandbox := true
	c.Emulated, c.Memlock, c.WritableInputs = false, nil, false
	for _, m := range used {
		c.WritableInputs = c.WritableInputs || m.WritableInputs
		sandbox = sandbox && m.Sandboxed()
		c.Emulated = c.Emulated || m.Emulated
		if m.Memlock != nil && (c.Memlock == nil || lessMemlock(*m.Memlock, *c.Memlock)) {
			c.Memlock = m.Memlock
		}
	}
	c.Sandbox = &sandbox
}

// lessMemlock compares limits, of which -1 is the highest.
func lessMemlock(a, b int64) bool { return b < 0 && a >= 0 || a >= 0 && a < b }
