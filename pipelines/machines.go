package pipelines

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/probe"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
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
	Sandbox   *bool  `json:"sandbox,omitempty"`
	// Memlock is the most memory in bytes that a build may lock; -1 is without limit.
	Memlock *int64 `json:"memlock,omitempty"`
	// Built counts the derivations that it built in this run: packages and their dependencies.
	Built int `json:"built"`
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
	text := fmt.Sprintf("%s builder, sandbox %s, memlock %s", m.Processor, onOff(m.sandboxed()), bytesOrUnlimited(*m.Memlock))
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
	s := sandboxSettings(here == nil || here.sandboxed()).With(nix.Settings{"builders": nix.FormatBuilders(p.builders)})
	if here == nil {
		s["max-jobs"] = "0"
	}
	return s
}

func (p probed) privileged() bool {
	here := p.here()
	return here != nil && here.sandboxed()
}

func (p probed) String() string {
	texts := make([]string, len(p.machines))
	for i, m := range p.machines {
		texts[i] = m.String()
	}
	return strings.Join(texts, "; ")
}

// candidate is a machine that may build, before it is measured.
type candidate struct {
	builder *nix.Builder  // nil for the engine's own machine
	system  matrix.System // one that it can build
}

// name is how the manifest calls it.
func (c candidate) name() string {
	if c.builder == nil {
		return ""
	}
	return nix.Redact(c.builder.URI)
}

// moreJobs lets a probe run beside the builds that a builder is busy with; else it would wait for one of them to end.
const moreJobs = 16

// pin are the settings that leave the candidate alone to build.
func (c candidate) pin() nix.Settings {
	if c.builder == nil {
		return nix.Settings{"builders": ""}
	}
	return nix.Settings{"builders": nix.FormatBuilders([]nix.Builder{c.builder.WithJobs(c.builder.Jobs + moreJobs)}), "max-jobs": "0"}
}

// buildersAlone reports whether the engine's own machine may not build anything.
func (r *Release) buildersAlone() bool { return r.Settings["max-jobs"] == "0" }

// buildersFor returns the remote builders that build for a system.
func (r *Release) buildersFor(e Engine, system matrix.System) []nix.Builder {
	var all []nix.Builder
	for _, b := range r.Builders {
		if b.Builds(string(system), string(e.Native)) {
			all = append(all, b)
		}
	}
	return all
}

// runs reports whether the engine's own machine can build for a system.
func (e Engine) runs(system matrix.System) bool { return e.Native == system || e.Emulator != "" }

// candidates are the machines that may build for a system. Where nothing is to be built for the first time, that is the
// engine's own alone: it makes second builds.
func (r *Release) candidates(e Engine, system matrix.System, builds bool) []candidate {
	var all []candidate
	var builders []nix.Builder
	if builds {
		builders = r.buildersFor(e, system)
	}
	if !r.buildersAlone() {
		here := candidate{system: system}
		if len(builders) > 0 && !e.runs(system) {
			here.system = e.Native // it still builds what the builders are not for
		}
		all = append(all, here)
	}
	for i := range builders {
		all = append(all, candidate{builder: &builders[i], system: system})
	}
	return all
}

// measureAll measures the candidates side by side. One that cannot be measured does not build, and is mentioned; it is an
// error where no other is left.
func (r *Release) measureAll(ctx context.Context, x Executor, system matrix.System, all []candidate) (p probed, err error) {
	machines, errs := make([]Machine, len(all)), make([]error, len(all))
	var g errgroup.Group
	for i, c := range all {
		g.Go(func() error {
			machines[i], errs[i] = r.measure(ctx, x, system, c)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs, in order
	if err := ctx.Err(); err != nil {
		return p, err
	}
	for i, c := range all {
		if errs[i] != nil {
			continue
		}
		p.machines = append(p.machines, machines[i])
		if c.builder != nil {
			p.builders = append(p.builders, *c.builder)
		}
	}
	if len(p.machines) == 0 {
		err := errors.Join(errs...)
		if unused := (*unusedError)(nil); errors.As(err, &unused) {
			err = hint.Wrap(err, "%s", logIn)
		}
		return p, err
	}
	for i, c := range all {
		if errs[i] != nil {
			r.mentionUnused(system, c, errs[i])
		}
	}
	return p, nil
}

// mentionUnused says once for a run that a machine cannot build, and why.
func (r *Release) mentionUnused(system matrix.System, c candidate, err error) {
	if c.builder == nil {
		r.event(Notice{System: system, Level: Warning, Text: "this machine does not build: " + nix.FirstLine(err.Error())})
		return
	}
	if unused := (*unusedError)(nil); errors.As(err, &unused) {
		r.mentionDown(system, c.name(), unused.reason)
	}
}

// unusedError says why a remote builder could not be measured.
type unusedError struct {
	candidate
	reason string
}

func (e *unusedError) Error() string {
	return fmt.Sprintf("build probe for %s on %s: %s", e.system, e.name(), e.reason)
}

// mentionDown says once for a run that a remote builder cannot be used, and why.
func (r *Release) mentionDown(system matrix.System, builder, reason string) {
	if r.mentioned != nil {
		if _, again := r.mentioned.LoadOrStore(builder, true); again {
			return
		}
	}
	r.event(Notice{
		System: system, Level: Warning, Text: fmt.Sprintf("remote builder %s is not used: %s", builder, reason),
		Hint: logIn,
	})
}

const logIn = "log in to it by ssh, without a password, as the user who runs Nix; its key and host key can be columns of --builders"

// measureAgainAfter is the pause before a probe is built again; a machine that answers late has that much time to recover.
const measureAgainAfter = time.Second

// builderTimeout bounds what a remote builder may take for a probe of some hundred bytes.
const builderTimeout = 2 * time.Minute

// measure builds the probe on one machine: in a sandbox, or, on the engine's own machine, outside where Nix says that it
// cannot set one up. Any other failure is tried once more, and then is an error: to go on without a sandbox would hide it.
func (r *Release) measure(ctx context.Context, x Executor, system matrix.System, c candidate) (Machine, error) {
	if c.builder != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, builderTimeout, fmt.Errorf("no result within %s", builderTimeout))
		defer stop()
	}
	report, err := r.probeTwice(ctx, x, c, true)
	if lost := sandboxLost(err); lost != "" && c.builder == nil {
		report, err = r.probeTwice(ctx, x, c, false)
		if err == nil {
			r.event(Notice{
				System: system, Level: Warning,
				Text: "no sandbox can be had, so builds may differ from run to run: " + lost,
				Hint: "run as root on the host engine, or allow insecureRootCapabilities in the engine's configuration",
			})
		}
	}
	if err != nil && c.builder != nil {
		return Machine{}, &unusedError{c, builderReason(named(ctx, StepSmoke, err))}
	}
	if err != nil {
		return Machine{}, smokeError(c.system, err)
	}
	sandboxed := report.Sandboxed()
	return Machine{
		Builder: c.name(), Processor: nix.PlainText(report.Machine), Kernel: nix.PlainText(report.Kernel), Cores: report.Cores,
		Emulated: report.Emulated(), Sandbox: &sandboxed, Memlock: &report.Memlock,
	}, nil
}

func (r *Release) probeTwice(ctx context.Context, x Executor, c candidate, sandbox bool) (probe.Report, error) {
	report, err := r.probe(ctx, x, c.system, sandbox, c.pin())
	if err == nil || ctx.Err() != nil || sandboxLost(err) != "" {
		return report, err
	}
	if waitErr := sleep(ctx, measureAgainAfter); waitErr != nil {
		return report, err
	}
	return r.probe(ctx, x, c.system, sandbox, c.pin())
}

// sandboxLost is Nix's own statement that it cannot set up a sandbox; empty where an error is another.
func sandboxLost(err error) string {
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		return nix.NoSandbox(exit.Stderr)
	}
	return ""
}

var (
	// cannotBuildOn is how Nix says that it cannot reach a remote builder.
	cannotBuildOn = regexp.MustCompile(`^cannot build on '([^']+)': (.+)`)
	// nixLine are the beginnings of lines that Nix writes when it builds by another machine. Others are those of ssh.
	nixLine = regexp.MustCompile(`^(?:this derivation will|these (?:\d+ )?derivations will|/nix/store/|building '|copying |waiting |warning:|error:|…)`)
)

// unreachable reads from what Nix writes which remote builder it cannot reach, and why. Of nested errors, the last one is
// what ssh says. Over ssh-ng, ssh says it on a line before, and Nix only that it has said no more.
func unreachable(stderr string) (builder, reason string, ok bool) {
	said := ""
	for line := range strings.Lines(nix.Redact(nix.PlainText(stderr))) {
		line = strings.TrimSpace(line)
		if m := cannotBuildOn.FindStringSubmatch(line); m != nil {
			reason = strings.ReplaceAll(m[2], "error: ", "")
			if said != "" && !strings.Contains(reason, said) {
				reason = said
			}
			return m[1], reason, true
		}
		if line != "" && !nixLine.MatchString(line) {
			said = line
		}
	}
	return "", "", false
}

// builderReason is why a remote builder could not be measured.
func builderReason(err error) string {
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		if _, reason, ok := unreachable(exit.Stderr); ok {
			return reason
		}
		if _, f := classify(nix.ErrorMessage(exit.Stderr)); f.Message != "" {
			return f.Message
		}
	}
	return nix.FirstLine(nix.Redact(nix.PlainText(err.Error())))
}

// noBuilderFor is the error of a system for which no machine may build.
func noBuilderFor(system matrix.System) error {
	return hint.Wrap(fmt.Errorf("build for %s: none of --builders is for it, and --jobs 0 lets no other machine build", system),
		"add a builder for it; or let this machine build as well: without --jobs 0; or leave the system out with --system")
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
	c.Emulated, c.Memlock = false, nil
	for _, m := range used {
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
