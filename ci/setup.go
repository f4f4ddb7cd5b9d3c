package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// setUp installs what the host engine needs and this machine lacks, and says each thing that it does. A machine that
// has all of it is left alone. A user who is not root gets the next command to run, as the hint of an error.
func setUp(ctx context.Context, sys process) error {
	access := host.InspectAccess(sys.environ)
	foreign, err := withoutEmulator(ctx)
	if err != nil {
		return err
	}
	packages := missingPackages(access, examineGit(ctx, access).ok, foreign)
	if !access.Root {
		if err := unprivileged(access, packages); err != nil {
			return err
		}
		return nixProblem(ctx, sys, access)
	}
	if err := install(ctx, sys, packages); err != nil {
		return err
	}
	for _, s := range foreign {
		registerEmulator(sys, s)
	}
	return withBuildUsers(ctx, sys, func() error {
		return nixProblem(ctx, sys, host.InspectAccess(sys.environ)) // which was there, or is installed now
	})
}

// withoutEmulator returns the systems whose programs this kernel neither runs nor emulates.
func withoutEmulator(ctx context.Context) ([]matrix.System, error) {
	native, err := nativeSystem(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(matrix.Systems(), func(s matrix.System) bool {
		return s == native || binfmt.Find(s.Machine()) != nil
	}), nil
}

const emulatorPackage = "qemu-user-static"

// missingPackages returns the packages of Debian or Ubuntu that this user needs installed.
func missingPackages(access host.Access, git bool, foreign []matrix.System) []string {
	var packages []string
	if !git {
		packages = append(packages, "git")
	}
	switch {
	case access.Nix != "":
	case access.Root:
		packages = append(packages, "nix-bin")
	default:
		packages = append(packages, host.NixPackage)
	}
	if len(foreign) > 0 && !emulatorInstalled(foreign[0]) {
		packages = append(packages, emulatorPackage)
	}
	return packages
}

// unprivileged returns an error where a user who is not root lacks packages, with the command that installs them. An
// emulator alone is no reason: the native system can be built without one.
func unprivileged(access host.Access, packages []string) error {
	needed := slices.DeleteFunc(slices.Clone(packages), func(p string) bool { return p == emulatorPackage })
	if len(needed) == 0 {
		return nil
	}
	err := fmt.Errorf("install %s: not root", strings.Join(packages, ", "))
	if !access.Apt {
		return hint.Wrap(err, "%s", foreignInstaller(needed))
	}
	return hint.Wrap(err, "%s", access.Install(packages...))
}

// foreignInstaller says how to install packages without apt-get.
func foreignInstaller(packages []string) string {
	text := "install them with this system's own package manager"
	if slices.Contains(packages, host.NixPackage) || slices.Contains(packages, "nix-bin") {
		text += "; for Nix see https://nixos.org/download"
	}
	return text
}

// emulatorInstalled reports whether the packages have an emulator that only needs to be registered.
func emulatorInstalled(s matrix.System) bool {
	_, err := os.Stat(binfmt.ConfigFile(s.Machine()))
	return err == nil
}

// foreignCheck is what is known before a foreign system is looked at.
type foreignCheck struct {
	access host.Access
	nix    bool // Nix works, and can be asked
	tried  bool // setUp has tried to register an emulator
}

// problem returns why this machine's Nix cannot build for a foreign system, or nil.
func (c foreignCheck) problem(ctx context.Context, sys process, s matrix.System) error {
	if binfmt.Find(s.Machine()) == nil {
		_, err := os.Stat(filepath.Join(binfmt.Dir, "register"))
		return noEmulator(c.access, s, emulatorState{installed: emulatorInstalled(s), mounted: err == nil, tried: c.tried && c.access.Root})
	}
	if !c.nix {
		return nil
	}
	x, err := host.Open(ctx, host.Options{System: s, Env: sys.environ})
	if err != nil {
		return err
	}
	e, err := x.Describe(ctx)
	if err != nil {
		return err
	}
	return e.Refused
}

// emulatorState is what keeps a foreign system's programs from running.
type emulatorState struct {
	installed bool // by the distribution's package
	mounted   bool // the kernel's table of emulators
	tried     bool // the kernel was given the entry and does not have it
}

// noEmulator returns the error of a machine without an emulator, with the command that puts it right.
func noEmulator(access host.Access, s matrix.System, e emulatorState) error {
	err := fmt.Errorf("no binfmt entry with flag F for %s", s.Machine())
	switch {
	case e.tried:
		return fmt.Errorf("%w: this kernel did not accept one", err)
	case !access.Apt:
		return hint.Wrap(err, "install QEMU's user mode emulation, and register it with flag F: docs/operations.md")
	case !e.installed:
		return hint.Wrap(err, "%s", access.Install(emulatorPackage))
	case access.Systemd:
		return hint.Wrap(err, "%s", access.AsRoot("systemctl restart systemd-binfmt"))
	}
	// What systemd would do.
	line := "grep ^: " + binfmt.ConfigFile(s.Machine()) + " >" + filepath.Join(binfmt.Dir, "register")
	if !e.mounted {
		line = "mount -t binfmt_misc binfmt_misc " + binfmt.Dir + " && " + line
	}
	return hint.Wrap(err, "%s", access.AsRoot(line))
}

// install installs packages of Debian or Ubuntu, as root.
func install(ctx context.Context, sys process, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return hint.Wrap(fmt.Errorf("install %s: no apt-get here", strings.Join(packages, ", ")), "%s", foreignInstaller(packages))
	}
	fmt.Fprintf(sys.stderr, "installing %s, by apt-get …\n", strings.Join(packages, ", "))
	args := append([]string{"install", "--yes", "--no-install-recommends"}, packages...)
	if aptGet(ctx, sys, args...) == nil {
		return nil
	}
	// A fresh machine may have no package lists yet, or old ones.
	if err := aptGet(ctx, sys, "update"); err != nil {
		return err
	}
	return aptGet(ctx, sys, args...)
}

func aptGet(ctx context.Context, sys process, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(sys.environ, "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("run apt-get %s: %v: %s", args[0], err, lines[len(lines)-1])
}

// registerEmulator registers an installed emulator in the kernel if the package has not: without systemd, it does not.
// A kernel that refuses is no error here; preflight and doctor say what is missing.
func registerEmulator(sys process, s matrix.System) {
	if binfmt.Find(s.Machine()) != nil {
		return
	}
	err := binfmt.Register(s.Machine())
	if err == nil && binfmt.Find(s.Machine()) == nil {
		err = errors.New("the kernel does not list it")
	}
	if err != nil {
		fmt.Fprintf(sys.stderr, "warning: %v\n", err)
		return
	}
	fmt.Fprintf(sys.stderr, "registered the emulator for %s with the kernel\n", s.Machine())
}
