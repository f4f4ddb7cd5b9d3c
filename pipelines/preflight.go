package pipelines

import (
	"context"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// preflight opens the cell's engine, and refuses everything that can be refused before a build.
func (c *cell) preflight(ctx context.Context) error {
	err := c.Step(ctx, run.StepPreflight, c.System, func() (string, error) {
		if err := c.open(ctx, c.Engines); err != nil {
			return "", err
		}
		return c.describe(c.engine), nil
	})
	for _, note := range c.engine.Notes {
		c.Warn(c.System, "%s", note)
	}
	if err == nil {
		c.result.Engine, c.result.Emulated = &c.engine, c.isEmulated()
	}
	return err
}

// open opens an engine for the cell's system.
func (c *cell) open(ctx context.Context, engines Engines) (err error) {
	if c.exec, err = engines.Open(ctx, c.System); err != nil {
		return err
	}
	if c.engine, err = c.exec.Describe(ctx); err == nil {
		err = c.refuse()
	}
	if err != nil {
		_ = c.exec.Close() // the first error matters
	}
	return err
}

// refuse returns why the cell cannot be built on its engine, as far as this is known before evaluation.
func (c *cell) refuse() error {
	e := c.engine
	if e.Refused != nil {
		return e.Refused
	}
	builders := c.builders()
	if c.onlyBuilders() && len(builders) == 0 {
		return hint.Wrap(fmt.Errorf("build for %s: none of --builders is for it, and --jobs 0 lets no other machine build", c.System),
			"add a builder for it; or let this machine build as well: without --jobs 0; or leave the system out with --system")
	}
	if !c.mayBeAbsent() {
		if err := c.needsEmulator(); err != nil {
			return err
		}
	}
	if len(e.Ignored) > 0 {
		return hint.Wrap(fmt.Errorf("use substituters %s: the Nix daemon does not trust this user and would ignore them", strings.Join(e.Ignored, ", ")),
			"add them to trusted-substituters, or the user to trusted-users, in /etc/nix/nix.conf, and restart nix-daemon")
	}
	if e.FreeBytes > 0 && e.FreeBytes < minFree {
		return fmt.Errorf("build on %s: %d MiB free on the store's disk, want %d", e.Kind, e.FreeBytes>>20, minFree>>20)
	}
	return nil
}

// mayBeAbsent reports whether evaluation can find that the flake has no packages for the system.
func (c *cell) mayBeAbsent() bool { return c.EverySystem && len(c.Packages) == 0 }

// needsEmulator returns an error if no machine can run the builders of the system.
func (c *cell) needsEmulator() error {
	if c.engine.Runs(c.System) || len(c.builders()) > 0 {
		return nil
	}
	return hint.Wrap(fmt.Errorf("build for %s on %s: no emulator is registered with the kernel", c.System, c.engine.Native),
		"install QEMU and its binfmt entry: apt-get install qemu-user-static binfmt-support; or name a machine that runs it: --builders, or --engine %[1]s=URL; or leave the system out: --system %[2]s", c.System, c.engine.Native)
}

// minFree is the space that Nix's own database and logs need.
const minFree = 64 << 20

// isEmulated reports whether the builders run in an emulator.
func (c *cell) isEmulated() bool { return c.engine.Native != c.System && c.engine.Emulator != "" }

// describe describes an engine in a few words.
func (c *cell) describe(e engine.Engine) string {
	text := e.Kind
	if e.Version != "" {
		text += " " + e.Version
	}
	text += ", Nix " + e.Nix.Text
	if e.Native == c.System {
		return text
	}
	switch e.Emulator {
	case "binfmt":
		text += ", builders emulated"
	case "container":
		text += ", container emulated"
	}
	return text
}
