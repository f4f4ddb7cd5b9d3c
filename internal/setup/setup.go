// Package setup examines what a machine has for a release, and installs what the host engine lacks.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	accounts "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Machine is this machine, as a user with an environment sees it.
type Machine struct {
	Environ []string
	Log     io.Writer // of steps and warnings
	// Systems are those that a release is made for.
	Systems []matrix.System
}

// SetUp installs what the host engine needs and this machine lacks, and prints each step. It changes nothing on a machine
// that has all of it. If the user is not root, the error's hint is the next command to run.
func (m Machine) SetUp(ctx context.Context) error {
	access := host.InspectAccess(m.Environ)
	foreign, err := m.withoutEmulator()
	if err != nil {
		return err
	}
	packages := missingPackages(access, m.examineGit(ctx, access).OK, foreign)
	if !access.Root {
		if err := unprivileged(access, packages); err != nil {
			return err
		}
		return m.nixProblem(ctx, access)
	}
	if err := m.install(ctx, packages); err != nil {
		return err
	}
	for _, s := range foreign {
		if registerEmulator(s) == nil { // otherwise preflight and doctor say what is missing
			fmt.Fprintf(m.Log, "registered the emulator for %s with the kernel\n", s.Machine())
		}
	}
	access = host.InspectAccess(m.Environ) // Nix may be installed now
	err = m.nixProblem(ctx, access)
	if none, ok := errors.AsType[*host.NoBuildUsersError](err); ok {
		if err := m.addBuildUsers(ctx, none.Group); err != nil {
			return err
		}
		return m.nixProblem(ctx, access)
	}
	return err
}

// withoutEmulator returns the systems whose programs this kernel neither runs nor emulates.
func (m Machine) withoutEmulator() ([]matrix.System, error) {
	native, err := NativeSystem()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(m.Systems), func(s matrix.System) bool {
		return s.RunsOn(native) || binfmt.Find(s) != nil
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
	if slices.ContainsFunc(foreign, func(s matrix.System) bool { return !emulatorInstalled(s) }) {
		packages = append(packages, emulatorPackage)
	}
	return packages
}

// unprivileged returns an error if packages are missing, with the command that installs them. A missing emulator alone is
// no error, because the native system can be built without one.
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

// foreignInstaller returns the hint for a system without apt-get.
func foreignInstaller(packages []string) string {
	text := "install them with this system's own package manager"
	if slices.Contains(packages, host.NixPackage) || slices.Contains(packages, "nix-bin") {
		text += "; for Nix see https://nixos.org/download"
	}
	return text
}

// emulatorInstalled reports whether the packages have an emulator that only needs to be registered.
func emulatorInstalled(s matrix.System) bool {
	_, err := os.Stat(binfmt.ConfigFile(s))
	return err == nil
}

// foreignCheck is what the check of a foreign system has to know of this machine.
type foreignCheck struct {
	access host.Access
	nix    bool // Nix works
	tried  bool // setUp tried to register an emulator
}

// problem returns why this machine's Nix cannot build for a foreign system, or nil.
func (m Machine) foreignProblem(ctx context.Context, c foreignCheck, s matrix.System) error {
	native, err := NativeSystem()
	if err != nil {
		return err
	}
	if !s.RunsOn(native) && binfmt.Find(s) == nil {
		_, err := os.Stat(filepath.Join(binfmt.Dir, "register"))
		state := emulatorState{installed: emulatorInstalled(s), mounted: err == nil}
		if c.tried && c.access.Root {
			state.refused = registerEmulator(s)
		}
		return noEmulator(c.access, s, state)
	}
	if !c.nix {
		return nil
	}
	x, err := host.Open(ctx, host.Options{System: s, Env: m.Environ})
	if err != nil {
		return err
	}
	e, err := x.Describe(ctx)
	if err != nil {
		return err
	}
	return e.Refused
}

// BuildProblem returns why this machine's Nix cannot build for a system after [Machine.SetUp], or nil.
func (m Machine) BuildProblem(ctx context.Context, s matrix.System) error {
	if native, err := NativeSystem(); err != nil || s == native {
		return err
	}
	return m.foreignProblem(ctx, foreignCheck{access: host.InspectAccess(m.Environ), nix: true, tried: true}, s)
}

// emulatorState describes an emulator that the kernel does not have.
type emulatorState struct {
	installed bool  // by the distribution's package
	mounted   bool  // the kernel's table of emulators
	refused   error // why setUp could not register it; nil if it did not try
}

// noEmulator returns the error of a machine without an emulator, with the command that corrects it.
func noEmulator(access host.Access, s matrix.System, e emulatorState) error {
	err := fmt.Errorf("no binfmt entry with flag F for %s", s.Machine())
	switch {
	case e.refused != nil:
		return fmt.Errorf("%w: %w", err, e.refused)
	case !access.Apt:
		return hint.Wrap(err, "install QEMU's user mode emulation, and register it with flag F: docs/operations.md")
	case !e.installed:
		return hint.Wrap(err, "%s", access.Install(emulatorPackage))
	case access.Systemd:
		return hint.Wrap(err, "%s", access.AsRoot("systemctl restart systemd-binfmt"))
	}
	// systemd would do the same.
	line := "grep ^: " + binfmt.ConfigFile(s) + " >" + filepath.Join(binfmt.Dir, "register")
	if !e.mounted {
		line = "mount -t binfmt_misc binfmt_misc " + binfmt.Dir + " && " + line
	}
	return hint.Wrap(err, "%s", access.AsRoot(line))
}

// install installs packages of Debian or Ubuntu, as root.
func (m Machine) install(ctx context.Context, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return hint.Wrap(fmt.Errorf("install %s: no apt-get here", strings.Join(packages, ", ")), "%s", foreignInstaller(packages))
	}
	fmt.Fprintf(m.Log, "installing %s, by apt-get …\n", strings.Join(packages, ", "))
	command := append([]string{"apt-get", "install", "--yes", "--no-install-recommends"}, packages...)
	if m.administer(ctx, command...) == nil {
		return nil
	}
	// A fresh machine may have no package lists yet, or old ones.
	if err := m.administer(ctx, "apt-get", "update"); err != nil {
		return err
	}
	return m.administer(ctx, command...)
}

// registerEmulator registers an installed emulator in the kernel, which lacks it. Without systemd the package does not.
func registerEmulator(s matrix.System) error {
	err := binfmt.Register(s)
	if err == nil && binfmt.Find(s) == nil {
		err = errors.New("this kernel does not list one after it was registered")
	}
	return err
}

// buildUsers is the number of users that Nix's own installer makes. Each builds one derivation at a time.
const buildUsers = 32

// addBuildUsers makes the users of root's builders as the Nix manual says: members of the group, without a home and a
// shell. Their numbers are from this machine's range for system users, and not Nix's usual ones, 30001 and up: Nix kills
// all processes of a build user before a build, and users of containers on this machine often have those numbers.
func (m Machine) addBuildUsers(ctx context.Context, group string) error {
	if _, err := exec.LookPath("useradd"); err != nil {
		if err := m.install(ctx, []string{"passwd"}); err != nil {
			return err
		}
	}
	fmt.Fprintf(m.Log, "adding the group %s and %d users for builders …\n", group, buildUsers)
	shell, err := exec.LookPath("nologin")
	if err != nil {
		shell = "/usr/sbin/nologin"
	}
	if _, err := accounts.LookupGroup(group); err != nil {
		if err := m.administer(ctx, "groupadd", "--system", group); err != nil {
			return err
		}
	}
	for n := 1; n <= buildUsers; n++ {
		name := group + strconv.Itoa(n)
		command := []string{"usermod", "--append", "--groups", group, name}
		if _, err := accounts.Lookup(name); err != nil {
			command = []string{
				"useradd", "--system", "--no-user-group", "--gid", group, "--groups", group, "--no-create-home",
				"--home-dir", "/var/empty", "--shell", shell, "--comment", fmt.Sprintf("Nix build user %d", n), name,
			}
		}
		if err := m.administer(ctx, command...); err != nil {
			return err
		}
	}
	return nil
}

// administer runs a command as root. Its error has the last line that the command prints.
func (m Machine) administer(ctx context.Context, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = slices.Concat(m.Environ, []string{"DEBIAN_FRONTEND=noninteractive"})
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("run %s: %v: %s", strings.Join(command, " "), err, lines[len(lines)-1])
}
