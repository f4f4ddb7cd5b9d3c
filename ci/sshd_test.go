package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// farm is a network namespace for remote builders, with only a loopback interface. Each builder has an address, an sshd and a
// root file system with an empty /nix; the rest is this machine's. Nothing of this machine is changed.
type farm struct {
	dir     string // keys, and files of builders
	network *os.File
	ci      string
}

const sshdProgram = "/usr/sbin/sshd" // sshd needs its own path

// newFarm makes the network, or skips the test if this machine does not allow it.
func newFarm(t *testing.T) *farm {
	t.Helper()
	needsNix(t)
	for _, program := range []string{sshdProgram, "ssh", "ssh-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s: apt-get install openssh-server openssh-client", program)
		}
	}
	f := &farm{dir: t.TempDir()}
	t.Cleanup(func() { makeWritable(f.dir) })
	var err error
	if f.network, err = newNetwork(); err != nil {
		t.Skipf("no network namespace can be made: %v", err)
	}
	t.Cleanup(func() { f.network.Close() })
	for _, name := range []string{"user", "host"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(f.dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("make key: %v\n%s", err, out)
		}
	}
	f.ci = buildCI(t)
	return f
}

// newNetwork makes a network namespace whose loopback interface is up. It lives as long as the file is open.
func newNetwork() (network *os.File, err error) {
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		var socket int
		if socket, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(socket)
		var lo *unix.Ifreq
		if lo, err = unix.NewIfreq("lo"); err != nil {
			return
		}
		lo.SetUint16(unix.IFF_UP)
		if err = unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo); err != nil {
			return
		}
		network, err = os.Open("/proc/thread-self/ns/net")
	})
	return network, err
}

// onThread runs f on a thread that ends with it, so that no other code runs in its namespaces. Children of f run in them.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // its namespaces are the whole process's
			onThread(f) // while this one is kept
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

// enter puts the thread into the network.
func (f *farm) enter() error { return unix.Setns(int(f.network.Fd()), unix.CLONE_NEWNET) }

// reach forwards a port of the network's loopback interface to this machine's, for a server of the test.
func (f *farm) reach(t *testing.T, address string) {
	t.Helper()
	var listener net.Listener
	var err error
	onThread(func() {
		if err = f.enter(); err == nil {
			listener, err = net.Listen("tcp", address)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return // it is closed
			}
			go forward(in, address)
		}
	}()
}

// forward copies between a connection and one to the address, in both directions, until one side ends.
func forward(in net.Conn, address string) {
	defer in.Close()
	out, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer out.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() { _, _ = io.Copy(way[0], way[1]); ended <- struct{}{} }()
	}
	<-ended
}

// remote is a remote builder.
type remote struct {
	*farm
	address string
	dir     string
	sshd    *exec.Cmd
}

// userPool is the directory where Nix locks the build users. Every Nix on this machine has to use the same one: Nix kills all
// processes of a user that it locks.
const userPool = "/nix/var/nix/userpool"

// enterRoot gives the thread a mount namespace and a root file system, in which /nix has only locks. It does not use chroot: in
// a chroot the kernel allows no user namespaces, and Nix has no sandbox.
func enterRoot(root string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("builder", root, "tmpfs", 0, "mode=755") },
	}
	for _, e := range entries {
		here, there := "/"+e.Name(), filepath.Join(root, e.Name())
		switch {
		case here == "/nix" || here == "/run":
		case e.Type() == os.ModeSymlink:
			steps = append(steps, func() error { link, err := os.Readlink(here); return errors.Join(err, os.Symlink(link, there)) })
		case e.IsDir():
			steps = append(steps,
				func() error { return os.Mkdir(there, 0o755) },
				func() error { return unix.Mount(here, there, "", unix.MS_BIND|unix.MS_REC, "") })
		}
	}
	for _, dir := range []string{userPool, filepath.Join(root, userPool), filepath.Join(root, "run/sshd"), filepath.Join(root, ".old")} {
		steps = append(steps, func() error { return os.MkdirAll(dir, 0o755) })
	}
	steps = append(steps,
		func() error { return unix.Mount(userPool, filepath.Join(root, userPool), "", unix.MS_BIND, "") },
		func() error { return unix.PivotRoot(root, filepath.Join(root, ".old")) },
		func() error { return unix.Chdir("/") },
		func() error { return unix.Unmount("/.old", unix.MNT_DETACH) })
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// builder starts a builder at 127.0.0.N with this nix.conf.
func (f *farm) builder(t *testing.T, n int, conf string) *remote {
	t.Helper()
	r := &remote{farm: f, address: fmt.Sprintf("127.0.0.%d", n), dir: filepath.Join(f.dir, strconv.Itoa(n))}
	for _, dir := range []string{"root", "conf"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeTest(t, filepath.Join(r.dir, "conf", "nix.conf"), "substituters =\n"+conf)
	config := filepath.Join(r.dir, "sshd_config")
	writeTest(t, config, strings.Join([]string{
		"ListenAddress " + r.address, "Port 22", "HostKey " + filepath.Join(f.dir, "host"), "AuthorizedKeysFile " + filepath.Join(f.dir, "user.pub"),
		"PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes",
		"SetEnv NIX_CONF_DIR=" + filepath.Join(r.dir, "conf") + " LC_ALL=C.UTF-8",
	}, "\n")+"\n")
	sshd, log := exec.Command(sshdProgram, "-D", "-e", "-f", config), &watched{word: "Server listening", seen: make(chan struct{})}
	sshd.Stderr = log
	sshd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // at the end of the thread
	started, ended, release := make(chan error), make(chan struct{}), make(chan struct{})
	go onThread(func() {
		if err := errors.Join(f.enter(), enterRoot(filepath.Join(r.dir, "root"))); err != nil {
			started <- err
			return
		}
		started <- sshd.Start()
		<-release
	})
	if err := <-started; err != nil {
		t.Skipf("no builder can be made here: %v", err)
	}
	r.sshd = sshd
	go func() { _ = sshd.Wait(); close(ended) }()
	t.Cleanup(func() {
		r.breakOff(t)
		close(release)
		<-ended
		if t.Failed() {
			t.Logf("sshd of %s:\n%s", r.address, log)
		}
	})
	select {
	case <-log.seen:
	case <-ended:
		t.Fatalf("sshd has ended:\n%s", log)
	}
	return r
}

// breakOff kills all processes in the builder's mount namespace except the sshd that listens. It returns their number. All
// are stopped before one is killed: a daemon that outlives a builder would report that the builder has failed.
func (r *remote) breakOff(t *testing.T) (ended int) {
	t.Helper()
	namespace := func(pid string) string { link, _ := os.Readlink("/proc/" + pid + "/ns/mnt"); return link }
	own := strconv.Itoa(r.sshd.Process.Pid)
	processes, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var others []int
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || p.Name() == own || namespace(p.Name()) == "" || namespace(p.Name()) != namespace(own) {
			continue
		}
		if syscall.Kill(pid, syscall.SIGSTOP) == nil {
			others = append(others, pid)
		}
	}
	for _, pid := range others {
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			ended++
		}
	}
	return ended
}

// line returns the builder's line for Nix, with the options for ssh.
func (r *remote) line(t *testing.T, scheme string, jobs int) string {
	t.Helper()
	return r.farm.line(t, scheme, r.address, jobs)
}

func (f *farm) line(t *testing.T, scheme, address string, jobs int) string {
	t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte(readTest(t, filepath.Join(f.dir, "host.pub"))))
	return fmt.Sprintf("%s://root@%s x86_64-linux %s %d 1 - - %s", scheme, address, filepath.Join(f.dir, "user"), jobs, key)
}

// workspace is a directory with a Nix store, in which the program runs in the network of a farm.
type workspace struct {
	*farm
	dir string
	env []string // in addition to that of every run
}

func (f *farm) workspace(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{farm: f, dir: t.TempDir()}
	t.Cleanup(func() { makeWritable(w.dir) })
	return w
}

// result is the result of a run of the program.
type result struct {
	code           int
	stdout, stderr string
	manifest       *run.Manifest
}

// count checks how often a text is in standard error.
func (r result) count(t *testing.T, text string, want int) {
	t.Helper()
	if n := strings.Count(r.stderr, text); n != want {
		t.Errorf("%q is printed %d times, want %d", text, n, want)
	}
}

// execute runs the program to its end.
func (w *workspace) run(t *testing.T, args ...string) result {
	t.Helper()
	return w.start(t, new(watched), args...)()
}

// start starts the program, and returns a function that waits for its end. Stderr receives its standard error.
func (w *workspace) start(t *testing.T, stderr *watched, args ...string) (wait func() result) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	cmd := exec.CommandContext(ctx, w.ci, args...)
	var stdout bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = w.dir, &stdout, stderr, 10*time.Second
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "home"), "LANG=C.UTF-8",
		"NIX_REMOTE=local?root=" + filepath.Join(w.dir, "store"),
	}, w.env...)
	var err error
	onThread(func() {
		if err = w.enter(); err == nil {
			err = cmd.Start()
		}
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	return func() (r result) {
		defer cancel()
		_ = cmd.Wait() // the exit code has the result
		r.code, r.stdout, r.stderr = cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
		t.Logf("%s\nexit code %d\n%s", strings.Join(args, " "), r.code, r.stderr)
		var err error
		if r.manifest, err = run.ReadManifest(filepath.Join(w.dir, "out", "manifest.json")); err != nil {
			t.Fatal(err)
		}
		return r
	}
}
