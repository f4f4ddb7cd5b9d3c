package dagger

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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// local returns an executor whose containers are processes of this machine: it tests the protocol without an engine.
func local(t *testing.T) *Executor {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash on this machine")
	}
	tun, err := openTunnel()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tun.close)
	tun.address = fmt.Sprintf("127.0.0.1/%d", tun.listener.Addr().(*net.TCPAddr).Port)
	script := filepath.Join(t.TempDir(), "run")
	// Commands report more often than in a container, so that tests of missing reports are short.
	quick := strings.Replace(runScript, "read -r -t 10 ", "read -r -t 0.02 ", 1)
	if quick == runScript {
		t.Fatal("run.sh has no such interval for reports")
	}
	if err := os.WriteFile(script, []byte(quick), 0o644); err != nil {
		t.Fatal(err)
	}
	x := &Executor{tunnel: tun, session: newSession(defaultLimits), image: loadedImage{name: "local"}}
	x.exec = func(ctx context.Context, args []string, _ bool) error {
		args[1] = script
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		return cmd.Run()
	}
	return x
}

func bash(script string) engine.Command {
	return engine.Command{Program: "bash", Args: []string{"-c", script}}
}

func TestRun(t *testing.T) {
	x := local(t)
	t.Setenv("SECRET", "not for commands")
	for _, test := range []struct {
		name, script   string
		stdout, stderr string
		code           int
	}{
		{name: "nothing", script: "true"},
		{name: "both streams", script: `printf 'a\0b'; printf 'c\r\n\377' >&2`, stdout: "a\x00b", stderr: "c\r\n\xff"},
		{name: "exit code", script: "echo why >&2; exit 139", stderr: "why\n", code: 139},
		{name: "signal", script: "kill -TERM $$", code: 143},
		{name: "no environment", script: `printf %s "$SECRET"`},
		{name: "no input", script: "cat"},
		{name: "configuration", script: `printf %s "$NIX_CONFIG"`, stdout: "a = 1\nb = 2\n"},
		{name: "output like the protocol", script: "echo exit 3; echo missing >&2", stdout: "exit 3\n", stderr: "missing\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x.settings = nix.Settings{"a": "1", "b": "1"}
			var stderr bytes.Buffer
			c := bash(test.script)
			c.Stderr, c.Settings = &stderr, nix.Settings{"b": "2"}
			out, err := x.Run(t.Context(), c)
			code := 0
			if exit := (*engine.ExitError)(nil); errors.As(err, &exit) {
				code = exit.Code
				if exit.Stderr != test.stderr {
					t.Errorf("stderr in error is %q, want %q", exit.Stderr, test.stderr)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if string(out) != test.stdout || stderr.String() != test.stderr || code != test.code {
				t.Errorf("stdout %q, stderr %q, code %d; want %q, %q, %d", out, stderr.String(), code, test.stdout, test.stderr, test.code)
			}
		})
	}
}

func TestRunMissingProgram(t *testing.T) {
	_, err := local(t).Run(t.Context(), engine.Command{Program: "no-such-program"})
	if err == nil || !strings.Contains(err.Error(), "not found in image") {
		t.Errorf("error is %v", err)
	}
}

func TestRunManyAtOnce(t *testing.T) {
	x := local(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			out, err := x.Run(t.Context(), bash(fmt.Sprintf("for ((i = 0; i < 3000; i++)); do echo %d; done", i)))
			if want := strings.Repeat(fmt.Sprintf("%d\n", i), 3000); err != nil || string(out) != want {
				t.Errorf("command %d: %d bytes, want %d: %v", i, len(out), len(want), err)
			}
		})
	}
	wg.Wait()
}

func TestRunIsCancelled(t *testing.T) {
	for _, test := range []struct{ name, script string }{
		{"willing", "sleep 60"},
		// There is no container that ends it, so it ends by itself.
		{"stubborn", "trap '' TERM; for ((i = 0; i < 300; i++)); do sleep 0.1; done"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := local(t)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := x.Run(ctx, bash(test.script))
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error is %v", err)
			}
			if d := time.Since(start); d > stopTimeout+2*time.Second {
				t.Errorf("it took %s", d)
			}
		})
	}
}

// exec returns recorded errors of a real engine.
func TestRunOnAFailingEngine(t *testing.T) {
	for _, test := range []struct {
		name, want string
		exec       execFunc
	}{
		{"refuses privileges", "does not allow privileged containers", func(context.Context, []string, bool) error {
			return errors.New("input: container.withExec.sync security.insecure is not allowed [traceparent:0a-1b]")
		}},
		{"shuts down", "the engine was lost: engine is shutting down", func(context.Context, []string, bool) error {
			return errors.New("engine is shutting down")
		}},
		{"is gone", "the engine was lost: dial unix /x.sock: connection refused", func(context.Context, []string, bool) error {
			return errors.New(`returned error 502: {"data":null,"errors":[{"message":"dial unix /x.sock: connection refused"}]}`)
		}},
		{"closes the connection", "the engine was lost", func(context.Context, []string, bool) error { return io.ErrUnexpectedEOF }},
		{"ends the container in silence", "the engine was lost", func(context.Context, []string, bool) error { return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := local(t)
			x.exec = test.exec
			_, err := x.Run(t.Context(), bash("true"))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

// A killed container ends its script too. Its output until then has arrived.
func TestRunOfKilledContainer(t *testing.T) {
	x := local(t)
	started := x.exec
	x.exec = func(ctx context.Context, args []string, p bool) error {
		if err := started(ctx, args, p); err == nil {
			return errors.New("it was to be killed")
		}
		return io.ErrUnexpectedEOF // as there is no ExecError without an engine
	}
	var stderr bytes.Buffer
	c := bash("echo last words >&2; sleep 0.2; kill -KILL $PPID")
	c.Stderr = &stderr
	_, err := x.Run(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "lost") || stderr.String() != "last words\n" {
		t.Errorf("error is %v, stderr %q", err, stderr.String())
	}
}

func TestParseMachineInfo(t *testing.T) {
	const info = "version nix (Nix) 2.34.7\ncores 8\nfree 1024\nkernel 6.1.0\nboot 1-2\n"
	want := machineInfo{nix: nix.Version{Major: 2, Minor: 34, Text: "2.34.7"}, cores: 8, free: 1024, kernel: "6.1.0", boot: "1-2"}
	for _, probe := range []string{"", "probe runs", "probe AAAA"} { // no output of a probe
		if l, err := parseMachineInfo(info+probe+"\n", "image"); err != nil || l != want {
			t.Errorf("parseMachineInfo with %q = %+v, %v; want %+v", probe, l, err, want)
		}
	}
	output := base64.StdEncoding.EncodeToString(make([]byte, 4096))
	if l, err := parseMachineInfo(info+"probe "+output+"\n", "image"); err != nil || l.report == nil || l.report.Emulated() {
		t.Errorf("parseMachineInfo with a probe = %+v, %v", l, err)
	}
	if _, err := parseMachineInfo("version \ncores 8\nfree \n", "image"); err == nil || !strings.Contains(err.Error(), "there is no Nix in it") {
		t.Errorf("parseMachineInfo without Nix: %v", err)
	}
}

func TestTunnelRefusesUnknownConnections(t *testing.T) {
	x := local(t)
	s := x.tunnel.expect()
	defer s.close()
	for _, greeting := range []string{"", "\n", "GET / HTTP/1.1\n", s.token + " other\n", strings.Repeat("x", 4096), "token control\n"} {
		conn, err := net.Dial("tcp", x.tunnel.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, greeting)
		_ = conn.(*net.TCPConn).CloseWrite()
		if n, _ := io.Copy(io.Discard, conn); n != 0 {
			t.Errorf("greeting %q got %d bytes", greeting, n)
		}
	}
	select {
	case <-s.control:
		t.Error("a stranger was let in")
	default:
	}
	for i, want := range []bool{true, false} {
		if got := s.admit("control", new(net.TCPConn)); got != want {
			t.Errorf("connection %d admitted: %t", i, got)
		}
	}
}
