package pipelines

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/probe"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// sandboxSettings turn the sandbox on or off for sure: Nix's default is to go on without it in silence.
func sandboxSettings(on bool) nix.Settings {
	if on {
		return nix.Settings{"sandbox": "true", "sandbox-fallback": "false"}
	}
	// Without a sandbox Nix still filters system calls, which an emulator refuses to set up (nix#5258).
	return nix.Settings{"sandbox": "false", "filter-syscalls": "false"}
}

// needsSandbox says whether a run has to know of a sandbox where nothing is to be built for the first time: what was
// built before is built again, or published.
func (r *Release) needsSandbox(todo []*run.PackageResult) bool {
	if len(todo) == 0 {
		return r.Rebuild.Without == "" && r.Rebuild.Fetched
	}
	return r.Rebuild.Without == "" || r.Publish.To != nil
}

// smoke measures each machine that may build for the cell, by building the smallest derivation on it alone. A missing
// emulator, an old QEMU, a builder that is down or a pseudoterminal that cannot be opened is named here, within a second,
// instead of an hour into a build.
func (r *Release) smoke(ctx context.Context, x engine.Executor, e engine.Engine, cell matrix.Cell, todo []*run.PackageResult, plan run.Plan) (p probed, err error) {
	err = r.Step(ctx, run.StepSmoke, cell.System, func() (string, error) {
		builds := len(plan.Build) > 0
		if !builds && (!r.needsSandbox(todo) || r.buildersAlone()) {
			return "", run.Skipped("nothing to build")
		}
		var err error
		if p, err = r.measureAll(ctx, x, cell.System, r.candidates(e, cell.System, builds)); err != nil {
			return "", err
		}
		return p.String(), nil
	})
	if err != nil {
		return probed{}, err
	}
	for _, m := range p.machines {
		r.warnOfMemlock(cell.System, m)
		r.warnOfSandbox(cell.System, m)
	}
	return p, nil
}

// Without users of their own, builders run as the owner of the store, and change the mode of a file before they write.
const (
	writableInputs = "builders can change their inputs"
	buildUsersHint = "go run ./ci doctor --fix, as root, makes build users; then nix.conf must not have an empty build-users-group. " +
		"Who is not root needs the Nix daemon"
)

// warnOfSandbox says that what a machine builds may not be what another would build.
func (r *Release) warnOfSandbox(system matrix.System, m run.Machine) {
	switch {
	case m.WritableInputs:
		r.Event(run.Notice{
			System: system, Level: run.Warning,
			Text: fmt.Sprintf("%s%s, which other builds use: nothing that is built so is published", writableInputs, m.On()), Hint: buildUsersHint,
		})
	case m.Builder != "" && !m.Sandboxed():
		r.Event(run.Notice{
			System: system, Level: run.Warning,
			Text: fmt.Sprintf("remote builder %s has no sandbox: what it builds may differ from run to run", m.Builder),
			Hint: "set sandbox = true and sandbox-fallback = false in its nix.conf, or leave it out of --builders",
		})
	}
}

// warnOfMemlock says that a machine lets builders lock less memory than the packages' tests need.
func (r *Release) warnOfMemlock(system matrix.System, m run.Machine) {
	if *m.Memlock < 0 || *m.Memlock >= r.Memlock {
		return
	}
	r.Event(run.Notice{
		System: system, Level: run.Warning,
		Text: fmt.Sprintf("a builder%s may lock %s of memory, and the packages' tests need %s", m.On(), run.BytesOrUnlimited(*m.Memlock), run.BytesOrUnlimited(r.Memlock)),
		Hint: "raise it before Nix or its daemon starts: ulimit -l unlimited, or LimitMEMLOCK= of nix-daemon.service, or --ulimit memlock=-1 of the engine's container",
	})
}

// probe builds and reads the probe of a system. Pin are the settings that leave one machine alone to build it.
func (r *Release) probe(ctx context.Context, x engine.Executor, system matrix.System, sandbox bool, pin nix.Settings) (probe.Report, error) {
	dir, err := workdir.Make("", "probe")
	if err != nil {
		return probe.Report{}, fmt.Errorf("write probe: %v", err)
	}
	defer dir.Remove()
	if err := os.WriteFile(filepath.Join(dir.Path, probe.Name), probe.ELF(system), 0o755); err != nil {
		return probe.Report{}, fmt.Errorf("write probe: %v", err)
	}
	placed, err := x.AddPath(ctx, dir.Path)
	if err != nil {
		return probe.Report{}, fmt.Errorf("place probe: %w", err)
	}
	expression := probe.Expression(system, filepath.Join(placed, probe.Name), r.ID+"-"+rand.Text())
	settings := r.Settings.With(sandboxSettings(sandbox)).With(pin).With(ownExpression)
	var out []byte
	err = r.buildProtected(ctx, x, system, engine.Command{
		Program: "nix-build", Args: []string{"--no-out-link", "-E", expression}, Settings: settings, Privileged: sandbox,
	}, func(path nix.StorePath) (err error) {
		out, err = x.Run(ctx, engine.Command{Program: "nix", Args: []string{"store", "cat", string(path)}, Settings: settings})
		return err
	})
	if err != nil {
		return probe.Report{}, err
	}
	return probe.Parse(out)
}

// smokeError adds hints to the error of a failed probe.
func smokeError(system matrix.System, err error) error {
	text := err.Error()
	if exit := (*engine.ExitError)(nil); errors.As(err, &exit) {
		text += exit.Stderr
	}
	err = fmt.Errorf("build probe for %s: %w", system, err)
	for _, known := range []struct{ text, hint string }{
		{"Exec format error", "the kernel has no binfmt entry with flag F: apt-get install qemu-user-static binfmt-support"},
		{"pseudoterminal attributes", "the emulator is too old for the image's C library: QEMU 10.2 or newer, or an image with glibc before 2.42"},
		{"seccomp", "the emulator cannot filter system calls: use an engine whose kernel has a binfmt entry, so that Nix itself is not emulated"},
		{"is required to build", "this Nix may not build for the system: run as a trusted user, or add extra-platforms to /etc/nix/nix.conf"},
		{"build-users-group", buildUsersHint},
		{"build users group", buildUsersHint},
		{"No space left on device", "make room on the store's disk: nix-collect-garbage"},
	} {
		if strings.Contains(text, known.text) {
			return hint.Wrap(err, "%s", known.hint)
		}
	}
	return err
}
