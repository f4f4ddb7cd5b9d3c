package host

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// debian is a Debian with systemd, its package of Nix, a running daemon, and a user who may use it.
var debian = Access{
	User: "alice", Nix: "/usr/bin/nix", State: "/nix/var/nix", Unit: true, Systemd: true, Apt: true, Sudo: true,
}

func TestAccessHintIsTheNextCommand(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(a *Access)
		problem string // empty if Nix can be used
		command string
	}{
		{"daemon", func(*Access) {}, "", ""},
		{
			"no Nix", func(a *Access) { *a = Access{User: "alice", Apt: true, Sudo: true} },
			"find nix: not on PATH", "sudo apt-get update && sudo apt-get install nix-setup-systemd && sudo usermod -aG nix-users alice",
		},
		{
			"no Nix and no sudo", func(a *Access) { *a = Access{User: "alice", Apt: true} },
			"find nix: not on PATH", "su - -c 'apt-get update && apt-get install nix-setup-systemd && usermod -aG nix-users alice'",
		},
		{"no Nix for root", func(a *Access) { *a = Access{Root: true, Apt: true} }, "find nix: not on PATH", "apt-get update && apt-get install nix-bin"},
		{
			"no Nix and no apt-get", func(a *Access) { *a = Access{User: "alice"} },
			"find nix: not on PATH", "install Nix with its daemon: https://nixos.org/download",
		},
		{
			"nix-bin alone", func(a *Access) { a.Socket, a.Unit = fs.ErrNotExist, false },
			"connect to the Nix daemon: there is no socket below /nix/var/nix, and alice may not write that directory",
			"sudo apt-get update && sudo apt-get install nix-setup-systemd && sudo usermod -aG nix-users alice",
		},
		{
			"another distribution's Nix without a daemon", func(a *Access) { a.Socket, a.Unit, a.Apt = fs.ErrNotExist, false, false },
			"connect to the Nix daemon: there is no socket below /nix/var/nix, and alice may not write that directory",
			"sudo sh -c 'setsid -f /usr/bin/nix-daemon >/var/log/nix-daemon.log 2>&1'",
		},
		{
			"not in the group", func(a *Access) { a.Socket, a.Group = fs.ErrPermission, "nix-users" },
			"connect to the Nix daemon: permission denied: alice is not in the group nix-users", "sudo usermod -aG nix-users alice",
		},
		{
			"not in the group, no sudo", func(a *Access) { a.Socket, a.Group, a.Sudo = fs.ErrPermission, "nix-users", false },
			"connect to the Nix daemon: permission denied: alice is not in the group nix-users", "su - -c 'usermod -aG nix-users alice'",
		},
		{
			"in the group since this login", func(a *Access) { a.Socket, a.Group, a.Member = fs.ErrPermission, "nix-users", true },
			"connect to the Nix daemon: permission denied: this login is older than alice's membership in the group nix-users",
			"log out and log in again",
		},
		{
			"closed to every group", func(a *Access) { a.Socket = fs.ErrPermission },
			"connect to the Nix daemon: permission denied: only root may use the socket below /nix/var/nix", "",
		},
		{
			"no daemon, systemd", func(a *Access) { a.Socket = fs.ErrNotExist },
			"connect to the Nix daemon: there is no socket below /nix/var/nix, and alice may not write that directory",
			"sudo systemctl start nix-daemon.socket",
		},
		{
			"no daemon, no systemd", func(a *Access) { a.Socket, a.Systemd = fs.ErrNotExist, false },
			"connect to the Nix daemon: there is no socket below /nix/var/nix, and alice may not write that directory",
			"sudo sh -c 'setsid -f /usr/bin/nix-daemon >/var/log/nix-daemon.log 2>&1'",
		},
		{
			"daemon ended, systemd", func(a *Access) { a.Socket = syscall.ECONNREFUSED },
			"connect to the Nix daemon: connection refused: it has ended", "sudo systemctl start nix-daemon.socket",
		},
		{
			"daemon ended, no systemd, no sudo", func(a *Access) { a.Socket, a.Systemd, a.Sudo = syscall.ECONNREFUSED, false, false },
			"connect to the Nix daemon: connection refused: it has ended",
			"su - -c 'setsid -f /usr/bin/nix-daemon >/var/log/nix-daemon.log 2>&1'",
		},
		{
			"daemon ended, nix-bin alone", func(a *Access) { a.Socket, a.Systemd, a.Unit = syscall.ECONNREFUSED, false, false },
			"connect to the Nix daemon: connection refused: it has ended",
			"sudo sh -c 'setsid -f /usr/bin/nix-daemon >/var/log/nix-daemon.log 2>&1'",
		},
		{"single-user Nix", func(a *Access) { a.Socket, a.Writable, a.Unit = fs.ErrNotExist, true, false }, "", ""},
		{"root without a daemon", func(a *Access) { a.Socket, a.Root = fs.ErrNotExist, true }, "", ""},
		{"a store of the user's choice", func(a *Access) { a.Socket, a.Store = fs.ErrNotExist, "local?root=/x" }, "", ""},
		{
			"root's choice of a daemon that does not run", func(a *Access) { a.Socket, a.Root, a.User, a.Store = syscall.ECONNREFUSED, true, "root", "daemon" },
			"connect to the Nix daemon: connection refused: it has ended", "systemctl start nix-daemon.socket",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := debian
			test.change(&a)
			err := a.Problem()
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.problem {
				t.Errorf("problem %q, want %q", got, test.problem)
			}
			if command := strings.Join(hint.Of(err), "\n"); command != test.command {
				t.Errorf("command %q, want %q", command, test.command)
			}
		})
	}
}

func TestRefusalOfAnUntrustedUser(t *testing.T) {
	foreign := matrix.AArch64Linux
	x := &Executor{System: foreign, access: debian}
	x.machine.emulator, x.machine.daemon = new(binfmt.Entry), true
	x.machine.config = config{"extra-platforms": "i686-linux"}
	err, failed := x.refusal(false)
	if failed != nil || err == nil || err.Error() != "build for aarch64-linux: the Nix daemon has no such extra-platforms, and it does not trust alice to add it" {
		t.Errorf("refusal %v", err)
	}
	const want = "sudo sh -c 'mkdir -p /etc/nix && echo extra-extra-platforms = aarch64-linux >>/etc/nix/nix.conf && systemctl restart nix-daemon'"
	if got := strings.Join(hint.Of(err), "\n"); got != want {
		t.Errorf("command %q, want %q", got, want)
	}
	if err, failed := x.refusal(true); err != nil || failed != nil {
		t.Errorf("a trusted user is refused: %v, %v", err, failed)
	}
	x.machine.config["extra-platforms"] += " aarch64-linux"
	if err, failed := x.refusal(false); err != nil || failed != nil {
		t.Errorf("a daemon that builds for the system is refused: %v, %v", err, failed)
	}
	x.machine.config = config{}
	if _, failed := x.refusal(false); failed == nil {
		t.Error("no error from a Nix that does not name its extra-platforms")
	}
}

// Nix's own message has no advice.
func TestOpenNeedsTheDaemon(t *testing.T) {
	bin := t.TempDir()
	for name, script := range map[string]string{
		"nix":       "#!/bin/sh\necho nix \\(Nix\\) 2.8.0\n",
		"nix-store": "#!/bin/sh\necho \"error: opening a connection to remote store 'daemon' previously failed\" >&2\nexit 1\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	_, err := Open(t.Context(), Options{System: matrix.X8664Linux, Env: []string{"PATH=" + bin, "NIX_REMOTE=daemon", "NIX_STATE_DIR=" + t.TempDir()}})
	if err == nil || !strings.Contains(err.Error(), "connect to the Nix daemon: there is no socket below") || len(hint.Of(err)) != 1 {
		t.Errorf("error %v with hints %q", err, hint.Of(err))
	}
}

func TestInspectAccessChecksTheSocket(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	env := []string{"NIX_STATE_DIR=" + state}
	if a := InspectAccess(env); a.Socket != fs.ErrNotExist || !a.Writable {
		t.Errorf("without a directory: %+v", a)
	}
	dir := filepath.Join(state, "daemon-socket")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket")})
	if err != nil {
		t.Fatal(err)
	}
	if a := InspectAccess(append(env, "NIX_REMOTE=daemon")); a.Socket != nil || a.Store != "daemon" {
		t.Errorf("with a daemon: %+v", a)
	}
	socket.SetUnlinkOnClose(false)
	socket.Close()
	if a := InspectAccess(env); a.Socket != syscall.ECONNREFUSED {
		t.Errorf("with a socket that was left behind: %+v", a)
	}
}
