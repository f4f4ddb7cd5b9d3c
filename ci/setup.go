package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// setUp installs what the host engine needs and this machine lacks, and says each thing that it does.
// A machine that has all of it is left alone.
func setUp(ctx context.Context, sys system) error {
	var packages []string
	if !examineGit(ctx).ok {
		packages = append(packages, "git")
	}
	if !program(ctx, partNix, "nix", "").ok { // one that is there and does not work is not mended by installing it
		packages = append(packages, "nix-bin")
	}
	native, err := nativeSystem(ctx)
	if err != nil {
		return err
	}
	var foreign []matrix.System
	for _, s := range matrix.Systems() {
		if s != native && binfmt.Find(s.Machine()) == nil {
			foreign = append(foreign, s)
		}
	}
	if len(foreign) > 0 && !emulatorInstalled(foreign[0]) {
		packages = append(packages, "qemu-user-static")
	}
	if err := install(ctx, sys, packages); err != nil {
		return err
	}
	for _, s := range foreign {
		registerEmulator(sys, s)
	}
	return nil
}

// emulatorInstalled reports whether the packages have an emulator that only needs to be registered.
func emulatorInstalled(s matrix.System) bool {
	_, err := os.Stat(binfmt.ConfigFile(s.Machine()))
	return err == nil
}

// install installs packages of Debian or Ubuntu.
func install(ctx context.Context, sys system, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	command := "apt-get install " + strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return hint.Wrap(fmt.Errorf("install %s: no apt-get here", strings.Join(packages, ", ")), "install them by this system's own means")
	}
	if os.Geteuid() != 0 {
		return hint.Wrap(fmt.Errorf("install %s: not root", strings.Join(packages, ", ")), "sudo %s", command)
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

func aptGet(ctx context.Context, sys system, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(sys.environ, "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("run apt-get %s: %v: %s", args[0], err, lines[len(lines)-1])
}

// registerEmulator tells the kernel of an installed emulator, where the package has not done so:
// on a machine without systemd nobody else does. A kernel that refuses is no error here;
// preflight and doctor say what is missing.
func registerEmulator(sys system, s matrix.System) {
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
