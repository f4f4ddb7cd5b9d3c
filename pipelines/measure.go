package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/probe"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// candidate is a machine that may build, before it is measured.
type candidate struct {
	builder *nix.Builder  // nil for the engine's own machine
	system  matrix.System // one that it can build
}

// name is its name in the manifest; empty for the engine's own machine.
func (c candidate) name() string {
	if c.builder == nil {
		return ""
	}
	return nix.Redact(c.builder.URI)
}

// moreJobs lets a probe run on a busy builder, without waiting for the end of a build.
const moreJobs = 16

// only are the settings that let the candidate alone build.
func (c candidate) only() nix.Settings {
	if c.builder == nil {
		return nix.Settings{"builders": ""}
	}
	return nix.Settings{"builders": nix.FormatBuilders([]nix.Builder{c.builder.WithJobs(c.builder.Jobs + moreJobs)}), "max-jobs": "0"}
}

// onlyBuilders reports whether only remote builders may build.
func (j *Job) onlyBuilders() bool { return j.Settings["max-jobs"] == "0" }

// builders returns the remote builders that build for the cell's system.
func (c *cell) builders() []nix.Builder {
	var all []nix.Builder
	for _, b := range c.Builders {
		if b.Builds(string(c.System), string(c.engine.Native)) {
			all = append(all, b)
		}
	}
	return all
}

// candidates returns the machines that may build. If nothing is built for the first time, that is the engine's own
// machine alone, which makes second builds.
func (c *cell) candidates(builds bool) []candidate {
	var all []candidate
	var builders []nix.Builder
	if builds {
		builders = c.builders()
	}
	if !c.onlyBuilders() {
		here := candidate{system: c.System}
		if len(builders) > 0 && !c.engine.Runs(c.System) {
			here.system = c.engine.Native // it builds what the builders do not build
		}
		all = append(all, here)
	}
	for i := range builders {
		all = append(all, candidate{builder: &builders[i], system: c.System})
	}
	return all
}

// measuredAtOnce limits the processes of measuring on the engine's own machine.
const measuredAtOnce = 8

// measureAll measures the candidates at the same time. A candidate that cannot be measured does not build. It is an error
// if no candidate is left.
func (c *cell) measureAll(ctx context.Context, all []candidate) error {
	machines, errs := make([]run.Machine, len(all)), make([]error, len(all))
	var g errgroup.Group
	g.SetLimit(measuredAtOnce)
	for i, of := range all {
		g.Go(func() error {
			machines[i], errs[i] = c.measure(ctx, of)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs, in order
	if err := ctx.Err(); err != nil {
		return err
	}
	var p probed
	for i, of := range all {
		if errs[i] != nil {
			continue
		}
		p.machines = append(p.machines, machines[i])
		if of.builder != nil {
			p.builders = append(p.builders, *of.builder)
		}
	}
	if len(p.machines) == 0 {
		err := errors.Join(errs...)
		if unused := (*unusedError)(nil); errors.As(err, &unused) {
			err = hint.Wrap(err, "%s", logInHint)
		}
		return err
	}
	for i, of := range all {
		if errs[i] != nil {
			c.mentionUnused(of, errs[i])
		}
	}
	c.probed = p
	return nil
}

// mentionUnused warns once in a run that a machine cannot build.
func (c *cell) mentionUnused(of candidate, err error) {
	if of.builder == nil {
		c.Warn(c.System, "this machine does not build: %s", nix.FirstLine(err.Error()))
		return
	}
	if unused := (*unusedError)(nil); errors.As(err, &unused) {
		c.mentionUnreachable(of.name(), unused.reason)
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

// mentionUnreachable warns once in a run that a remote builder cannot be used.
func (c *cell) mentionUnreachable(builder, reason string) {
	if _, again := c.mentioned.LoadOrStore(builder, true); again {
		return
	}
	c.Advise(c.System, logInHint, "remote builder %s is not used: %s", builder, reason)
}

const logInHint = "log in to it by ssh, without a password, as the user who runs Nix; its key and host key can be columns of --builders"

// measureAgainAfter is the pause before a probe is built again.
const measureAgainAfter = time.Second

// builderTimeout limits the probe of a remote builder.
const builderTimeout = 2 * time.Minute

// measure builds the probe on one machine, in a sandbox. If Nix cannot set up a sandbox on the engine's own machine, it
// builds the probe without. It tries again after any other failure, which a build without a sandbox would hide.
func (c *cell) measure(ctx context.Context, of candidate) (run.Machine, error) {
	if of.builder != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, builderTimeout, fmt.Errorf("no result within %s", builderTimeout))
		defer stop()
	}
	report, err := c.probeTwice(ctx, of, true)
	if lost := sandboxLost(err); lost != "" && of.builder == nil {
		report, err = c.probeTwice(ctx, of, false)
		if err == nil {
			c.Advise(c.System, "run as root on the host engine, or allow insecureRootCapabilities in the engine's configuration",
				"no sandbox can be had, so builds may differ from run to run: %s", lost)
		}
	}
	if err != nil && of.builder != nil {
		return run.Machine{}, &unusedError{of, builderReason(run.WithCause(ctx, run.StepProbe, err))}
	}
	if err != nil {
		return run.Machine{}, probeError(of.system, err)
	}
	sandboxed := report.Sandboxed() && !report.WritableInputs
	return run.Machine{
		InSandbox: report.Sandboxed(), WritableInputs: report.WritableInputs,
		Builder: of.name(), Processor: nix.PlainText(report.Machine), Kernel: nix.PlainText(report.Kernel), Cores: report.Cores,
		Emulated: report.Emulated(), Sandbox: &sandboxed, Memlock: &report.Memlock,
	}, nil
}

func (c *cell) probeTwice(ctx context.Context, of candidate, sandbox bool) (probe.Report, error) {
	report, err := c.buildProbe(ctx, of.system, sandbox, of.only())
	if err == nil || ctx.Err() != nil || sandboxLost(err) != "" {
		return report, err
	}
	if waitErr := run.Sleep(ctx, measureAgainAfter); waitErr != nil {
		return report, err
	}
	return c.buildProbe(ctx, of.system, sandbox, of.only())
}

// sandboxLost returns the message of Nix, or of an engine that refuses the privileges, that there can be no sandbox; empty
// for another error.
func sandboxLost(err error) string {
	if err != nil && strings.Contains(err.Error(), engine.NoPrivileges) {
		return engine.NoPrivileges
	}
	if exit := (*engine.ExitError)(nil); errors.As(err, &exit) {
		return nix.NoSandbox(exit.Stderr)
	}
	return ""
}

// builderReason returns why a remote builder could not be measured.
func builderReason(err error) string {
	if exit := (*engine.ExitError)(nil); errors.As(err, &exit) {
		if _, reason, ok := buildlog.ParseUnreachable(exit.Stderr); ok {
			return reason
		}
		if _, f := buildlog.Classify(nix.ErrorMessage(exit.Stderr)); f.Message != "" {
			return f.Message
		}
	}
	return nix.FirstLine(nix.Redact(nix.PlainText(err.Error())))
}
