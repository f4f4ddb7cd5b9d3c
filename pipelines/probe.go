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

// sandboxSettings turn the sandbox on or off without a fallback: by default, Nix silently builds without it.
func sandboxSettings(on bool) nix.Settings {
	if on {
		return nix.Settings{"sandbox": "true", "sandbox-fallback": "false"}
	}
	// Without a sandbox Nix still filters system calls, which an emulator refuses to set up (nix#5258).
	return nix.Settings{"sandbox": "false", "filter-syscalls": "false"}
}

// needsSandbox reports whether a run must know about the sandbox if it has nothing to build for the first time, because
// it rebuilds or publishes.
func (r *Release) needsSandbox(c *cell) bool {
	if len(c.todo) == 0 {
		return r.Rebuild.Without == "" && r.Rebuild.Fetched
	}
	return r.Rebuild.Without == "" || r.Publish.To != nil
}

// probe measures each machine that may build for the cell: it builds the smallest derivation on that machine. It finds a
// missing emulator, an old QEMU or a builder that is down within a second, instead of an hour into a build. Needed says to
// measure the engine's own machine also if there is nothing to build.
func (c *cell) probe(ctx context.Context, needed bool) error {
	err := c.Step(ctx, run.StepProbe, c.System, func() (string, error) {
		builds := len(c.plan.Build) > 0
		if !builds && (!needed || c.onlyBuilders()) {
			return "", run.Skipped("nothing to build")
		}
		err := c.measureAll(ctx, c.candidates(builds))
		return c.probed.String(), err
	})
	if err != nil {
		return err
	}
	for _, m := range c.probed.machines {
		c.warnOfMemlock(m)
		c.warnOfSandbox(m)
	}
	c.setMachines()
	return nil
}

// Without build users, builders run as the owner of the store, and change the mode of a file before they write.
const (
	writableInputs = "builders can change their inputs"
	buildUsersHint = "go run ./ci doctor --fix, as root, makes build users; then nix.conf must not have an empty build-users-group. " +
		"Other users than root need the Nix daemon"
)

// warnOfSandbox warns that the results of a machine may differ from those of another.
func (c *cell) warnOfSandbox(m run.Machine) {
	switch {
	case m.WritableInputs:
		c.Advise(c.System, buildUsersHint, "%s%s, which other builds use: nothing that is built so is published", writableInputs, m.On())
	case m.Builder != "" && !m.Sandboxed():
		c.Advise(c.System, "set sandbox = true and sandbox-fallback = false in its nix.conf, or leave it out of --builders",
			"remote builder %s has no sandbox: what it builds may differ from run to run", m.Builder)
	}
}

// warnOfMemlock warns that builders of a machine can lock less memory than the packages' tests need.
func (c *cell) warnOfMemlock(m run.Machine) {
	if *m.Memlock < 0 || *m.Memlock >= c.Memlock {
		return
	}
	c.Advise(c.System, "raise it before Nix or its daemon starts: ulimit -l unlimited, or LimitMEMLOCK= of nix-daemon.service, or --ulimit memlock=-1 of the engine's container",
		"a builder%s may lock %s of memory, and the packages' tests need %s", m.On(), run.BytesOrUnlimited(*m.Memlock), run.BytesOrUnlimited(c.Memlock))
}

// buildProbe builds and reads the probe of a system. Only are the settings that let one machine alone build it.
func (c *cell) buildProbe(ctx context.Context, system matrix.System, sandbox bool, only nix.Settings) (probe.Report, error) {
	dir, err := workdir.Make("", "probe")
	if err != nil {
		return probe.Report{}, fmt.Errorf("write probe: %v", err)
	}
	defer dir.Remove()
	if err := os.WriteFile(filepath.Join(dir.Path, probe.Name), probe.ELF(system), 0o755); err != nil {
		return probe.Report{}, fmt.Errorf("write probe: %v", err)
	}
	copied, err := c.exec.AddPath(ctx, dir.Path)
	if err != nil {
		return probe.Report{}, fmt.Errorf("place probe: %w", err)
	}
	expression := probe.Expression(system, filepath.Join(copied, probe.Name), c.ID+"-"+rand.Text())
	settings := c.Settings.With(sandboxSettings(sandbox)).With(only).With(ownExpression)
	var out []byte
	err = c.buildProtected(ctx, engine.Command{
		Program: "nix-build", Args: []string{"--no-out-link", "-E", expression}, Settings: settings, Privileged: sandbox,
	}, func(path nix.StorePath) (err error) {
		out, err = c.exec.Run(ctx, engine.Command{Program: "nix", Args: []string{"store", "cat", string(path)}, Settings: settings})
		return err
	})
	if err != nil {
		return probe.Report{}, err
	}
	return probe.Parse(out)
}

// probeError adds hints to the error of a failed probe.
func probeError(system matrix.System, err error) error {
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
