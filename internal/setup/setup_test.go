package setup

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// user is a user of a Debian without systemd, on which Nix can be used.
var user = host.Access{User: "alice", Nix: "/usr/bin/nix", State: "/nix/var/nix", Unit: true, Apt: true, Sudo: true}

func TestSetUpOfAUserHintsOneCommand(t *testing.T) {
	noNix := host.Access{User: "alice", Apt: true, Sudo: true}
	noSudo := noNix
	noSudo.Sudo = false
	noApt := noNix
	noApt.Apt = false
	for name, test := range map[string]struct {
		access   host.Access
		packages []string
		problem  string
		command  string
	}{
		"nothing is missing": {user, nil, "", ""},
		"an emulator alone":  {user, []string{emulatorPackage}, "", ""},
		"git":                {user, []string{"git"}, "install git: not root", "sudo apt-get update && sudo apt-get install git"},
		"everything":         {noNix, []string{"git", host.NixPackage, emulatorPackage}, "install git, nix-setup-systemd, qemu-user-static: not root", "sudo apt-get update && sudo apt-get install git nix-setup-systemd qemu-user-static && sudo usermod -aG nix-users alice"},
		"Nix, without sudo":  {noSudo, []string{host.NixPackage}, "install nix-setup-systemd: not root", "su - -c 'apt-get update && apt-get install nix-setup-systemd && usermod -aG nix-users alice'"},
		"Nix, without apt":   {noApt, []string{host.NixPackage}, "install nix-setup-systemd: not root", "install them with this system's own package manager; for Nix see https://nixos.org/download"},
		"git, without apt":   {noApt, []string{"git"}, "install git: not root", "install them with this system's own package manager"},
	} {
		t.Run(name, func(t *testing.T) {
			checkProblem(t, unprivileged(test.access, test.packages), test.problem, test.command)
		})
	}
}

func checkProblem(t *testing.T, err error, problem, command string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != problem {
		t.Errorf("error %q, want %q", got, problem)
	}
	if got := strings.Join(hint.Of(err), "\n"); got != command {
		t.Errorf("hint %q, want %q", got, command)
	}
}

func TestMissingPackages(t *testing.T) {
	root, absent := host.Access{Root: true, Nix: "/usr/bin/nix", Apt: true}, host.Access{Root: true, Apt: true}
	for name, test := range map[string]struct {
		access  host.Access
		git     bool
		foreign []matrix.System
		want    []string
	}{
		"nothing":              {root, true, nil, nil},
		"root needs no daemon": {absent, true, nil, []string{"nix-bin"}},
		"a user needs one":     {host.Access{User: "alice"}, true, nil, []string{host.NixPackage}},
		"git":                  {root, false, nil, []string{"git"}},
	} {
		if diff := cmp.Diff(test.want, missingPackages(test.access, test.git, test.foreign)); diff != "" {
			t.Errorf("%s: packages (-want +got):\n%s", name, diff)
		}
	}
}

func TestNoEmulatorNamesTheNextCommand(t *testing.T) {
	systemd := user
	systemd.Systemd = true
	root := user
	root.Root = true
	const missing = "no binfmt entry with flag F for aarch64"
	for name, test := range map[string]struct {
		access  host.Access
		state   emulatorState
		problem string
		command string
	}{
		"not installed":          {user, emulatorState{}, missing, "sudo apt-get update && sudo apt-get install qemu-user-static"},
		"not registered":         {user, emulatorState{installed: true, mounted: true}, missing, "sudo sh -c 'grep ^: /usr/lib/binfmt.d/qemu-aarch64.conf >/proc/sys/fs/binfmt_misc/register'"},
		"no table":               {user, emulatorState{installed: true}, missing, "sudo sh -c 'mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && grep ^: /usr/lib/binfmt.d/qemu-aarch64.conf >/proc/sys/fs/binfmt_misc/register'"},
		"systemd registers":      {systemd, emulatorState{installed: true, mounted: true}, missing, "sudo systemctl restart systemd-binfmt"},
		"another distribution":   {host.Access{User: "alice"}, emulatorState{}, missing, "install QEMU's user mode emulation, and register it with flag F: docs/operations.md"},
		"the kernel has refused": {root, emulatorState{installed: true, mounted: true, refused: errors.New("write register: refused")}, missing + ": write register: refused", ""},
	} {
		t.Run(name, func(t *testing.T) {
			checkProblem(t, noEmulator(test.access, matrix.AArch64Linux, test.state), test.problem, test.command)
		})
	}
}

// A missing emulator of a system beside the default two is named once, with the command that installs it.
func TestExamineNamesEachSystemWithoutEmulator(t *testing.T) {
	native, err := NativeSystem()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []matrix.System{"s390x-linux", "mips64el-linux"} {
		if binfmt.Find(s) != nil {
			t.Skipf("this machine emulates %s", s)
		}
	}
	m := Machine{Systems: []matrix.System{native, "s390x-linux", "mips64el-linux"}}
	f := m.examineEmulator(t.Context(), foreignCheck{access: host.Access{User: "alice"}})
	const fix = "install QEMU's user mode emulation, and register it with flag F: docs/operations.md"
	if f.OK || f.Found != "no binfmt entry with flag F for s390x, no binfmt entry with flag F for mips64" || f.Fix != fix {
		t.Errorf("finding %+v", f)
	}
	if native == matrix.X8664Linux {
		m.Systems = []matrix.System{native, "i686-linux"}
		if f := m.examineEmulator(t.Context(), foreignCheck{}); !f.OK || f.Found != "i686 by the processor itself" {
			t.Errorf("finding %+v", f)
		}
	}
}
