package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Access reports whether this user can use the Nix of this machine. [InspectAccess] fills it in.
type Access struct {
	Root  bool
	User  string
	Nix   string // path of the program; empty if it is not on PATH
	Store string // NIX_REMOTE
	State string // Nix's state directory

	Writable bool  // the user may write the state directory
	Socket   error // why the daemon's socket cannot be used; nil if it can

	// If permission is denied: the group that has access, whether the user database lists the user in it, and whether this
	// process has it.
	Group          string
	Member, Active bool

	Unit    bool // systemd has a unit for the daemon
	Systemd bool // systemd runs
	Apt     bool // packages come from apt-get
	Sudo    bool
}

// NixPackage is Debian's package with Nix, its daemon and the group of its users. Root needs only its package nix-bin.
const NixPackage = "nix-setup-systemd"

// usersGroup is the group of Debian's package whose members may use the daemon.
const usersGroup = "nix-users"

// InspectAccess inspects the machine. It starts no process.
func InspectAccess(env []string) Access {
	store, _ := child.Lookup(env, "NIX_REMOTE")
	state, _ := child.Lookup(env, "NIX_STATE_DIR")
	a := Access{
		Root: os.Geteuid() == 0, User: strconv.Itoa(os.Geteuid()),
		Store: strings.TrimPrefix(store, "auto"), State: cmp.Or(state, "/nix/var/nix"),
		Nix: program("nix"), Apt: program("apt-get") != "", Sudo: program("sudo") != "",
		Systemd: exists("/run/systemd/system"), // as sd_booted(3) does
	}
	me, err := user.Current()
	if err == nil {
		a.User = me.Username
	}
	a.Writable = syscall.Access(existing(a.State), writeAccess) == nil
	var closed string
	if closed, a.Socket = checkSocket(filepath.Join(a.State, "daemon-socket", "socket")); closed != "" {
		a.inspectGroup(closed, me)
	}
	for _, dir := range []string{"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		a.Unit = a.Unit || exists(filepath.Join(dir, "nix-daemon.socket"))
	}
	return a
}

// program returns the path of a program; empty if it is not on PATH.
func program(name string) string {
	path, _ := exec.LookPath(name)
	return path
}

// The modes of access(2).
const (
	writeAccess  = 2
	searchAccess = 1
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// existing returns path, or its nearest ancestor that exists.
func existing(path string) string {
	for !exists(path) && path != filepath.Dir(path) {
		path = filepath.Dir(path)
	}
	return path
}

// checkSocket returns why the socket cannot be used. If permission is denied, closed is the directory or socket that
// denies it.
func checkSocket(socket string) (closed string, err error) {
	info, err := os.Stat(socket)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return existing(socket), fs.ErrPermission
	case err != nil || info.Mode()&os.ModeSocket == 0:
		return "", fs.ErrNotExist
	case syscall.Access(socket, writeAccess) != nil:
		return socket, fs.ErrPermission
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", syscall.ECONNREFUSED
	}
	conn.Close()
	return "", nil
}

// inspectGroup finds the group that has access to a directory or socket, if there is one.
func (a *Access) inspectGroup(closed string, me *user.User) {
	info, err := os.Stat(closed)
	if err != nil {
		return
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	need := os.FileMode(searchAccess)
	if info.Mode()&os.ModeSocket != 0 {
		need = writeAccess
	}
	if !ok || info.Mode()&(need<<3) == 0 {
		return
	}
	gid := strconv.Itoa(int(stat.Gid))
	group, err := user.LookupGroupId(gid)
	if err != nil {
		return
	}
	a.Group = group.Name
	if me != nil {
		ids, _ := me.GroupIds()
		a.Member = slices.Contains(ids, gid)
	}
	groups, _ := os.Getgroups()
	a.Active = os.Getegid() == int(stat.Gid) || slices.Contains(groups, int(stat.Gid))
}

// Problem returns why this user cannot use Nix, with the next command to run as its hint, or nil.
func (a Access) Problem() error {
	switch {
	case a.Nix == "":
		return hint.Wrap(errors.New("find nix: not on PATH"), "%s", a.installNix())
	case a.Store == "daemon":
		return a.daemonProblem()
	case a.Store != "" || a.Root || a.Writable:
		return nil
	}
	return a.daemonProblem()
}

func (a Access) daemonProblem() error {
	const failed = "connect to the Nix daemon: "
	switch {
	case a.Socket == nil:
		return nil
	case errors.Is(a.Socket, fs.ErrPermission) && a.Group == "":
		return fmt.Errorf(failed+"%v: only root may use the socket below %s", a.Socket, a.State)
	case errors.Is(a.Socket, fs.ErrPermission) && !a.Member:
		return hint.Wrap(fmt.Errorf(failed+"%v: %s is not in the group %s", a.Socket, a.User, a.Group),
			"%s", a.AsRoot("usermod -aG "+a.Group+" "+a.User))
	case errors.Is(a.Socket, fs.ErrPermission) && !a.Active:
		return hint.Wrap(fmt.Errorf(failed+"%v: this login is older than %s's membership in the group %s", a.Socket, a.User, a.Group),
			"log out and log in again")
	case errors.Is(a.Socket, fs.ErrPermission):
		return fmt.Errorf(failed+"%v", a.Socket)
	case errors.Is(a.Socket, fs.ErrNotExist):
		return hint.Wrap(fmt.Errorf(failed+"there is no socket below %s, and %s may not write that directory", a.State, a.User),
			"%s", a.startDaemon())
	}
	return hint.Wrap(fmt.Errorf(failed+"%v: it has ended", a.Socket), "%s", a.startDaemon())
}

// startDaemon returns the command that starts the daemon, or that installs it.
func (a Access) startDaemon() string {
	switch {
	case a.Unit && a.Systemd:
		return a.AsRoot("systemctl start nix-daemon.socket")
	case !a.Unit && a.Apt && errors.Is(a.Socket, fs.ErrNotExist):
		return a.installNix()
	}
	return a.AsRoot(a.daemonCommand())
}

// allowSystem returns the command that lets every user of the daemon build for a foreign system.
func (a Access) allowSystem(system matrix.System) string {
	restart := "systemctl restart nix-daemon"
	if !a.Systemd {
		restart = "kill $(pidof nix-daemon); " + a.daemonCommand()
	}
	// The list's own name begins with "extra-": this appends to it.
	return a.AsRoot("mkdir -p /etc/nix && echo extra-extra-platforms = " + string(system) + " >>/etc/nix/nix.conf && " + restart)
}

func (a Access) daemonCommand() string {
	return "setsid -f " + filepath.Join(filepath.Dir(a.Nix), "nix-daemon") + " >/var/log/nix-daemon.log 2>&1"
}

// installNix returns the command that installs Nix for this user.
func (a Access) installNix() string {
	switch {
	case !a.Apt:
		return "install Nix with its daemon: https://nixos.org/download"
	case a.Root:
		return a.Install("nix-bin")
	}
	return a.Install(NixPackage)
}

// Install returns the command that installs packages with apt-get, for this user. A new machine has no package lists. With
// Nix, it also adds the user to the group that may use it.
func (a Access) Install(packages ...string) string {
	lines := []string{"apt-get update", "apt-get install " + strings.Join(packages, " ")}
	if slices.Contains(packages, NixPackage) {
		lines = append(lines, "usermod -aG "+usersGroup+" "+a.User)
	}
	return a.AsRoot(lines...)
}

// AsRoot returns the command that runs lines of shell as root, for this user. It stops at the first line that fails.
func (a Access) AsRoot(lines ...string) string {
	if !a.Root && !a.Sudo {
		return "su - -c '" + strings.Join(lines, " && ") + "'"
	}
	var commands []string
	for _, line := range lines {
		switch {
		case a.Root:
		case strings.ContainsAny(line, "&>;"):
			line = "sudo sh -c '" + line + "'"
		default:
			line = "sudo " + line
		}
		commands = append(commands, line)
	}
	return strings.Join(commands, " && ")
}
