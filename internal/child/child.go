// Package child runs other programs, and selects the variables of their environment.
package child

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a command of the context to its end, and returns the last 16 KiB of its error output. If the context ends,
// the error is that of the context.
//
// The command has its own session: it cannot prompt on a terminal, and a Ctrl-C reaches it once, from this process. If
// the context ends, all its processes get SIGTERM, and after cmd.WaitDelay SIGKILL.
func Run(ctx context.Context, cmd *exec.Cmd) (stderr string, err error) {
	tail := &Tail{Limit: 16 << 10}
	wait := func() {}
	if cmd.Stderr == nil {
		cmd.Stderr = tail
	} else if cmd.Stderr, wait, err = logPipe(io.MultiWriter(tail, cmd.Stderr), cmd.WaitDelay); err != nil {
		return "", err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	err = cmd.Run()
	wait()
	if ctx.Err() != nil {
		if cmd.Process != nil { // processes that the command has started may still run
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		err = ctx.Err()
	}
	return tail.String(), err
}

// ExitCode returns the exit code of a command that ran and failed: as in a shell, 128 and the number of a signal that
// ended it.
func ExitCode(err error) (code int, ok bool) {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 0, false
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), true
	}
	return exit.ExitCode(), true
}

const (
	pipeSize = 1 << 20 // what any user may request; the default of 64 KiB is full within two milliseconds
	readSize = 64 << 10
	pause    = 2 * time.Millisecond
)

// logPipe returns a pipe for the output of a process, which it copies to w in large blocks. The returned function waits
// until all is copied, at most for the delay if another process keeps the pipe open.
//
// Nix writes a build log line by line. A reader that wakes up for each line, like that of os/exec, spends more time on
// waking up than on reading: for a log of 200 MB, four seconds of processor time here and two in Nix, which builders
// then lack. So this reader pauses after each short read.
func logPipe(w io.Writer, delay time.Duration) (in *os.File, wait func(), err error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	if raw, err := out.SyscallConn(); err == nil { // without the larger pipe, a fast build waits a little
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, readSize); ; {
			n, err := out.Read(buf)
			_, _ = w.Write(buf[:n])
			if err != nil {
				return
			}
			if n < len(buf) {
				time.Sleep(pause)
			}
		}
	}()
	return in, func() {
		in.Close()
		_ = out.SetReadDeadline(time.Now().Add(delay))
		<-done
		out.Close()
	}, nil
}

// Proxies are the variables that name the proxies of a network. Some programs read the upper-case names.
var Proxies = []string{
	"http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
}

// Select returns the variables of an environment ("NAME=value") that have one of the names, in their order.
func Select(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !slices.Contains(names, name)
	})
}

// Without returns the other variables of an environment, in their order.
func Without(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(names, name)
	})
}

// Lookup returns the value of a variable and reports whether it is set. If there are several of the name, it returns the
// last one, as a child process sees it.
func Lookup(env []string, name string) (value string, ok bool) {
	for _, variable := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// Tail keeps the last bytes that are written to it. It is for the error output of a child.
type Tail struct {
	Limit int

	mu   sync.Mutex
	kept []byte
}

// Write implements [io.Writer]. It returns no error.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.Limit; over > t.Limit {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// String returns at most the last Limit bytes.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept[max(0, len(t.kept)-t.Limit):])
}
