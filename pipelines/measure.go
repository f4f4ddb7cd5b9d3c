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
func (r *Release) buildersFor(e engine.Engine, system matrix.System) []nix.Builder {
	var all []nix.Builder
	for _, b := range r.Builders {
		if b.Builds(string(system), string(e.Native)) {
			all = append(all, b)
		}
	}
	return all
}

// candidates are the machines that may build for a system. Where nothing is to be built for the first time, that is the
// engineText's own alone: it makes second builds.
func (r *Release) candidates(e engine.Engine, system matrix.System, builds bool) []candidate {
	var all []candidate
	var builders []nix.Builder
	if builds {
		builders = r.buildersFor(e, system)
	}
	if !r.buildersAlone() {
		here := candidate{system: system}
		if len(builders) > 0 && !e.Runs(system) {
			here.system = e.Native // it still builds what the builders are not for
		}
		all = append(all, here)
	}
	for i := range builders {
		all = append(all, candidate{builder: &builders[i], system: system})
	}
	return all
}

// measuredAtOnce bounds the processes that measuring takes on the engine's own machine.
const measuredAtOnce = 8

// measureAll measures the candidates side by side. One that cannot be measured does not build, and is mentioned; it is an
// error where no other is left.
func (r *Release) measureAll(ctx context.Context, x engine.Executor, system matrix.System, all []candidate) (p probed, err error) {
	machines, errs := make([]run.Machine, len(all)), make([]error, len(all))
	var g errgroup.Group
	g.SetLimit(measuredAtOnce)
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
		r.Event(run.Notice{System: system, Level: run.Warning, Text: "this machine does not build: " + nix.FirstLine(err.Error())})
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
	r.Event(run.Notice{
		System: system, Level: run.Warning, Text: fmt.Sprintf("remote builder %s is not used: %s", builder, reason),
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
func (r *Release) measure(ctx context.Context, x engine.Executor, system matrix.System, c candidate) (run.Machine, error) {
	if c.builder != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, builderTimeout, fmt.Errorf("no result within %s", builderTimeout))
		defer stop()
	}
	report, err := r.probeTwice(ctx, x, c, true)
	if lost := sandboxLost(err); lost != "" && c.builder == nil {
		report, err = r.probeTwice(ctx, x, c, false)
		if err == nil {
			r.Event(run.Notice{
				System: system, Level: run.Warning,
				Text: "no sandbox can be had, so builds may differ from run to run: " + lost,
				Hint: "run as root on the host engine, or allow insecureRootCapabilities in the engine's configuration",
			})
		}
	}
	if err != nil && c.builder != nil {
		return run.Machine{}, &unusedError{c, builderReason(run.WithCause(ctx, run.StepSmoke, err))}
	}
	if err != nil {
		return run.Machine{}, smokeError(c.system, err)
	}
	sandboxed := report.Sandboxed() && !report.WritableInputs
	return run.Machine{
		InSandbox: report.Sandboxed(), WritableInputs: report.WritableInputs,
		Builder: c.name(), Processor: nix.PlainText(report.Machine), Kernel: nix.PlainText(report.Kernel), Cores: report.Cores,
		Emulated: report.Emulated(), Sandbox: &sandboxed, Memlock: &report.Memlock,
	}, nil
}

func (r *Release) probeTwice(ctx context.Context, x engine.Executor, c candidate, sandbox bool) (probe.Report, error) {
	report, err := r.probe(ctx, x, c.system, sandbox, c.pin())
	if err == nil || ctx.Err() != nil || sandboxLost(err) != "" {
		return report, err
	}
	if waitErr := run.Sleep(ctx, measureAgainAfter); waitErr != nil {
		return report, err
	}
	return r.probe(ctx, x, c.system, sandbox, c.pin())
}

// sandboxLost is the statement of Nix, or of the engine that denies it the means, that it cannot set up a sandbox; empty
// where an error is another.
func sandboxLost(err error) string {
	if err != nil && strings.Contains(err.Error(), engine.NoPrivileges) {
		return engine.NoPrivileges
	}
	if exit := (*engine.ExitError)(nil); errors.As(err, &exit) {
		return nix.NoSandbox(exit.Stderr)
	}
	return ""
}

// builderReason is why a remote builder could not be measured.
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

// noBuilderFor is the error of a system for which no machine may build.
func noBuilderFor(system matrix.System) error {
	return hint.Wrap(fmt.Errorf("build for %s: none of --builders is for it, and --jobs 0 lets no other machine build", system),
		"add a builder for it; or let this machine build as well: without --jobs 0; or leave the system out with --system")
}
