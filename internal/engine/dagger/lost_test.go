package dagger

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// shortLimits are limits of less than a second, for tests.
var shortLimits = limits{
	answer: 300 * time.Millisecond, provision: 300 * time.Millisecond, transfer: 300 * time.Millisecond,
	start: 300 * time.Millisecond, silence: 300 * time.Millisecond,
}

// wantLost checks that an error says that the engine was lost, and has a hint.
func wantLost(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "the engine was lost") || len(hint.Of(err)) == 0 {
		t.Errorf("error %v, hints %q; want one that the engine was lost, with a hint", err, hint.Of(err))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v is that of a context that has ended", err)
	}
}

// guard returns a context that ends a test which waits too long.
func guard(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// In each test, the engine answers all queries but one.
func TestOpenEndsWithoutAnAnswer(t *testing.T) {
	for _, word := range []string{"version", "defaultPlatform", "from", "glob", "contents", "start", "directory", "withMountedCache", "withExec", ""} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			e := newFakeEngine(t)
			e.ignore(word)
			o := Options{System: matrix.X8664Linux, Env: e.env(), limits: shortLimits}
			x, err := Open(guard(t), o)
			if err == nil {
				_ = x.Close()
			}
			wantLost(t, err)

			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			o.limits = defaultLimits
			start := time.Now()
			if _, err := Open(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error of a context that has ended: %v", err)
			}
			if d := time.Since(start); d > endTimeout+10*time.Second {
				t.Errorf("ended %s after the start, with a context of 0.3 s", d)
			}
		})
	}
}

// The Dagger client of a lost engine hangs too, so it is killed.
func TestClientOfLostEngineIsKilled(t *testing.T) {
	e := newFakeEngine(t)
	e.ignore("start")
	client, ended := fakeClient(t, e.port())
	o := Options{
		System: matrix.X8664Linux, RunnerHost: socket(t), limits: shortLimits,
		Env: []string{cliVariable + "=" + client, "PATH=" + os.Getenv("PATH")},
	}
	start := time.Now()
	_, err := Open(guard(t), o)
	wantLost(t, err)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %s: the client of a lost engine must be killed at once", d)
	}
	if !ended() {
		t.Error("the client still runs")
	}
}

// hang is an exec that the engine never starts.
func hang(ctx context.Context, _ []string, _ bool) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestCallsEndWithoutAnAnswer(t *testing.T) {
	dir := t.TempDir()
	for name, call := range map[string]func(context.Context, *Executor) error{
		"add path": func(ctx context.Context, x *Executor) error {
			_, err := x.AddPath(ctx, dir)
			return err
		},
		"run": func(ctx context.Context, x *Executor) error {
			_, err := x.Run(ctx, bash("true"))
			return err
		},
		"describe": func(ctx context.Context, x *Executor) error {
			_, err := x.Describe(ctx)
			return err
		},
		"export": func(ctx context.Context, x *Executor) error {
			return x.Export(ctx, io.Discard, []nix.StorePath{"/nix/store/00000000000000000000000000000000-x"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newFakeEngine(t)
			e.ignore("sync") // and answer pings
			x := fakeExecutor(t, e, shortLimits)
			x.exec = hang
			wantLost(t, call(guard(t), x))
			// Later calls return the loss without another wait.
			start := time.Now()
			wantLost(t, call(guard(t), x))
			if d := time.Since(start); d > 100*time.Millisecond {
				t.Errorf("a call after the loss took %s", d)
			}
		})
	}
}

// If the engine answers nothing any more, a running command and one that is about to start both end.
func TestFrozenEngineIsNoticed(t *testing.T) {
	l := defaultLimits
	l.silence = 300 * time.Millisecond
	for name, exec := range map[string]execFunc{"starting": hang, "running": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newFakeEngine(t)
			x := fakeExecutor(t, e, l)
			if exec != nil {
				x.exec = exec
			}
			time.AfterFunc(100*time.Millisecond, func() { e.ignore("") })
			start := time.Now()
			_, err := x.Run(guard(t), bash("while :; do echo; sleep 0.01; done"))
			wantLost(t, err)
			if !strings.Contains(err.Error(), "it has not answered for 300ms") {
				t.Errorf("error is %v", err)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("it took %s", d)
			}
			if _, err := x.AddPath(guard(t), t.TempDir()); err == nil || !strings.Contains(err.Error(), "was lost") {
				t.Errorf("place after the loss: %v", err)
			}
		})
	}
}

// Operations that last longer than the limit of silence continue as long as the engine answers and the command reports.
func TestLongWaitsAreNotEnded(t *testing.T) {
	l := defaultLimits
	l.silence = time.Second // of a machine that is busy with other tests
	const long = "2.5"
	for name, run := range map[string]func(*Executor) (string, error){
		"a silent build": func(x *Executor) (string, error) {
			out, err := x.Run(guard(t), bash("sleep "+long+"; echo done"))
			return string(out), err
		},
		"a container that starts late": func(x *Executor) (string, error) {
			started := x.exec
			x.exec = func(ctx context.Context, args []string, p bool) error {
				time.Sleep(2500 * time.Millisecond)
				return started(ctx, args, p)
			}
			out, err := x.Run(guard(t), bash("echo done"))
			return string(out), err
		},
		"a reader that is slow": func(x *Executor) (string, error) {
			slow := &slowWriter{delay: 2500 * time.Millisecond}
			c := bash("echo done")
			c.Stdout = slow
			_, err := x.Run(guard(t), c)
			return slow.String(), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newFakeEngine(t)
			if out, err := run(fakeExecutor(t, e, l)); err != nil || out != "done\n" {
				t.Errorf("output %q, %v", out, err)
			}
			if n := e.pings.Load(); n < pulses {
				t.Errorf("the engine was asked %d times", n)
			}
		})
	}
}

type slowWriter struct {
	bytes.Buffer
	delay time.Duration
}

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(w.delay)
	return w.Buffer.Write(p)
}

// An interrupted run has some things left to do. If the engine is frozen, it does not wait for each of them.
func TestFrozenEngineIsNoticedAtTheEnd(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t)
	x := fakeExecutor(t, e, defaultLimits)
	x.exec = hang
	e.ignore("")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := x.Run(ctx, bash("true")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	start := time.Now()
	_, err := x.Run(guard(t), bash("true"))
	wantLost(t, err)
	if d := time.Since(start); d > time.Second {
		t.Errorf("the next command took %s", d)
	}
}

// A container whose own processes are stopped counts as lost, like one of a frozen engine.
func TestFrozenContainerIsNoticed(t *testing.T) {
	l := defaultLimits
	l.silence = 300 * time.Millisecond
	x := fakeExecutor(t, newFakeEngine(t), l)
	// The command stops the script that reports for it.
	_, err := x.Run(guard(t), bash(`for pid in $(ps -o pid= --ppid $PPID); do [[ $pid == $$ ]] || kill -STOP $pid; done; sleep 30`))
	wantLost(t, err)
	if !strings.Contains(err.Error(), "the command was silent") {
		t.Errorf("error is %v", err)
	}
}

// The page has each limit.
func TestLimitsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for what, limit := range map[string]time.Duration{
		"for a query that moves no data":     defaultLimits.answer,
		"the download of the Dagger client":  defaultLimits.provision,
		"a directory to be uploaded":         defaultLimits.transfer,
		"for a command's container to start": defaultLimits.start,
		"of a command that runs":             defaultLimits.silence,
	} {
		if row := what + " | " + span(limit) + " |"; !strings.Contains(string(page), row) {
			t.Errorf("docs/operations.md has no %q", row)
		}
	}
	if every := defaultLimits.silence / pulses; every != 10*time.Second {
		t.Errorf("docs/operations.md says that the engine gets a query every ten seconds, not every %s", every)
	}
}
