package dagger

import (
	"context"
	"crypto/rand"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// freezer returns functions that stop and continue the engine: the process that listens on its socket.
func freezer(t *testing.T) (stop, goOn func()) {
	t.Helper()
	host, _ := child.Lookup(os.Environ(), runnerHostVariable)
	u, err := url.Parse(host)
	if err != nil || u.Scheme != "unix" {
		t.Skipf("the engine at %q has no socket on this machine, so its process is not known", host)
	}
	conn, err := net.Dial("unix", u.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || credErr != nil {
		t.Fatal(err, credErr)
	}
	pid := int(cred.Pid)
	if pid == 0 || syscall.Kill(pid, 0) != nil {
		t.Skipf("this user may not stop process %d, the engine", pid)
	}
	send := func(s syscall.Signal) {
		if err := syscall.Kill(pid, s); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { send(syscall.SIGCONT) })
	return func() { send(syscall.SIGSTOP) }, func() { send(syscall.SIGCONT) }
}

// freezeLimits are the limits of a test with a real engine. They are short, because other tests may use it too.
func freezeLimits() limits {
	l := defaultLimits
	l.answer, l.silence = 3*time.Second, 4*time.Second
	return l
}

// within checks that f ends within the limits, and that the engine then serves the next session.
func within(t *testing.T, o Options, goOn func(), f func() error) error {
	t.Helper()
	start := time.Now()
	err := f()
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("it took %s", d)
	}
	goOn()
	o.limits = defaultLimits
	if out, err := open(t, o).Run(t.Context(), bash("echo again")); err != nil || string(out) != "again\n" {
		t.Errorf("the next session: %q, %v", out, err)
	}
	return err
}

func TestEngineFrozenBeforeOpen(t *testing.T) {
	o := options(t, matrix.X8664Linux)
	o.limits = freezeLimits()
	if _, err := o.loadImage(t.Context()); err != nil { // it is converted once, which can take longer than the limits
		t.Fatal(err)
	}
	stop, goOn := freezer(t)
	stop()
	err := within(t, o, goOn, func() error {
		x, err := Open(guard(t), o)
		if err == nil {
			_ = x.Close()
		}
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "no answer after 3s") {
		t.Errorf("error is %v", err)
	}
}

func TestEngineFrozenInCommand(t *testing.T) {
	o := options(t, matrix.X8664Linux)
	o.limits = freezeLimits()
	stop, goOn := freezer(t)
	x := open(t, o)
	wantLost(t, within(t, o, goOn, func() error {
		c := bash("echo started; sleep 60")
		c.Stdout = callback(stop)
		_, err := x.Run(guard(t), c)
		return err
	}))
}

func TestEngineFrozenInExport(t *testing.T) {
	o := options(t, matrix.X8664Linux)
	o.limits = freezeLimits()
	stop, goOn := freezer(t)
	x := open(t, o)
	out, err := x.Run(t.Context(), bash("cd /tmp && mkdir "+rand.Text()+" && cd */ && head -c 64M /dev/urandom >large && nix-store --add large"))
	if err != nil {
		t.Fatal(err)
	}
	wantLost(t, within(t, o, goOn, func() error {
		return x.Export(guard(t), callback(stop), []nix.StorePath{nix.StorePath(strings.TrimSpace(string(out)))})
	}))
}

// --timeout also ends a run whose engine is frozen.
func TestEngineFrozenUntilTimeout(t *testing.T) {
	o := options(t, matrix.X8664Linux)
	stop, goOn := freezer(t)
	x := open(t, o)
	err := within(t, o, goOn, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		stop()
		_, err := x.Run(ctx, bash("true"))
		return err
	})
	if err != context.DeadlineExceeded { //nolint:errorlint // the contract requires the error of the context
		t.Errorf("error is %v", err)
	}
}

// After a short stop, the engine does not count as lost.
func TestEngineFrozenForAWhile(t *testing.T) {
	o := options(t, matrix.X8664Linux)
	o.limits = freezeLimits()
	o.limits.silence = 20 * time.Second
	stop, goOn := freezer(t)
	x := open(t, o)
	c := bash("echo started; sleep 1; echo done")
	c.Stdout = callback(func() {
		stop()
		time.AfterFunc(3*time.Second, goOn)
	})
	if _, err := x.Run(guard(t), c); err != nil {
		t.Error(err)
	}
}

// callback is called when the first bytes are written to it.
type callback func()

func (f callback) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}
