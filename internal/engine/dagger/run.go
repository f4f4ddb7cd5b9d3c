package dagger

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dagger.io/dagger"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// runScript starts every command; the protocol is in its comment.
//
//go:embed run.sh
var runScript string

const runPath = "/.open-sesame-ci/run"

// busyBuildDirScript runs a command with a build directory that looks as if other builds run in it. Builders may run as
// another user and need search permission. The directory ends with the container.
const busyBuildDirScript = `TMPDIR=$(mktemp -d) && export TMPDIR && chmod 755 "$TMPDIR" &&
	mkdir "$TMPDIR"/nix-build-neighbour.drv-{0,1} && echo left by another build >"$TMPDIR/neighbour" && exec "$@"`

// execFunc runs a program in a new container to its end, and drops its output.
type execFunc func(ctx context.Context, args []string, privileged bool) error

func (x *Executor) execInContainer(ctx context.Context, args []string, privileged bool) error {
	_, err := x.withAdded().WithExec(args, dagger.ContainerWithExecOpts{InsecureRootCapabilities: privileged}).Sync(ctx)
	return err
}

// Run runs a command of Nix in a new container.
func (x *Executor) Run(ctx context.Context, c engine.Command) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.Output(func(c engine.Command) error {
		r := x.start(ctx, c)
		defer r.close()
		return r.wait(ctx)
	})
}

// running is a command in its container.
type running struct {
	x       *Executor
	program string
	streams *streams
	stderr  *child.Tail
	control net.Conn    // nil until the container is there
	reports chan string // lines of control, closed at its end
	ended   chan error  // the result of the exec, from Dagger
	copied  chan error  // of stdout and of stderr, once each
	kill    context.CancelFunc
	over    <-chan struct{} // closed by kill
	pumps   sync.WaitGroup
	writing atomic.Int32 // the number of pumps that wait for their writer
}

// start starts the command in the engine.
func (x *Executor) start(ctx context.Context, c engine.Command) *running {
	// If the context ends, the command must end before the query. So the query has its own context.
	queryCtx, kill := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{
		x: x, program: c.Program, streams: x.tunnel.expect(), kill: kill, over: queryCtx.Done(), stderr: &child.Tail{Limit: 16 << 10},
		reports: make(chan string), ended: make(chan error, 1), copied: make(chan error, 2),
	}
	var stderr io.Writer = r.stderr
	if c.Stderr != nil {
		stderr = io.MultiWriter(stderr, c.Stderr)
	}
	r.pump(r.streams.stdout, c.Stdout)
	r.pump(r.streams.stderr, stderr)
	args := []string{"bash", runPath, x.tunnel.address, r.streams.token, x.memlock(), x.settings.With(c.Settings).Config()}
	args = append(args, x.keeping()...)
	if c.BusyBuildDir {
		args = append(args, "bash", "-c", busyBuildDirScript, "builds")
	}
	args = append(args, c.Program)
	go func() { r.ended <- x.exec(queryCtx, append(args, c.Args...), c.Privileged) }()
	return r
}

// pump copies a stream to its end.
func (r *running) pump(from <-chan net.Conn, w io.Writer) {
	r.pumps.Go(func() {
		select {
		case conn := <-from:
			// No splicing: the error must say whether reading or writing failed.
			_, err := io.Copy(countedWriter{w, &r.writing}, struct{ io.Reader }{conn})
			r.copied <- err
		case <-r.over:
		}
	})
}

// countedWriter counts the running writes in n.
type countedWriter struct {
	io.Writer
	n *atomic.Int32
}

func (w countedWriter) Write(p []byte) (int, error) {
	w.n.Add(1)
	defer w.n.Add(-1)
	return w.Writer.Write(p)
}

// close ends the command and its copies. Nothing writes to the writers of the command afterwards.
func (r *running) close() {
	r.kill()
	r.streams.close()
	r.pumps.Wait()
}

// wait returns when the exit of the command is reported and all of its output has arrived.
func (r *running) wait(ctx context.Context) error {
	l := r.x.session.limits
	starting := time.NewTimer(l.start)
	defer starting.Stop()
	pulse := time.NewTicker(l.silence / pulses)
	defer pulse.Stop()
	report, missed := "", 0
	for open := cap(r.copied); report == "" || open > 0; {
		select {
		case r.control = <-r.streams.control:
			starting.Stop()
			go r.listen()
		case line, ok := <-r.reports:
			if !ok {
				return r.vanished(ctx)
			}
			if line != "alive" {
				report = line
			}
		case err := <-r.copied:
			if read := (*net.OpError)(nil); errors.As(err, &read) && read.Op == "read" {
				return r.vanished(ctx)
			}
			if err != nil {
				return fmt.Errorf("copy output of %s: %w", r.program, err)
			}
			open--
		case err := <-r.ended:
			return r.failure(ctx, err)
		case <-r.x.session.gone:
			return r.failure(ctx, errGone)
		case <-ctx.Done():
			r.cancel(ctx)
			return ctx.Err()
		case <-starting.C:
			return r.failure(ctx, r.x.session.lose("no container was started within "+span(l.start)))
		case <-pulse.C:
			// A container is silent before it connects, and while it waits for a writer of this process.
			if missed++; r.control == nil || r.writing.Load() > 0 {
				missed = 0
			} else if missed == pulses {
				return r.failure(ctx, r.x.session.lose("the command was silent for "+span(l.silence)))
			}
			continue
		}
		missed = 0
	}
	r.send("done")
	r.awaitEnd()
	return r.result(report)
}

// listen passes on the lines of the container until the command is over.
func (r *running) listen() {
	defer close(r.reports)
	for lines := bufio.NewScanner(r.control); lines.Scan(); {
		select {
		case r.reports <- lines.Text():
		case <-r.over:
			return
		}
	}
}

// send sends a word to the container, if that is connected.
func (r *running) send(word string) {
	if r.control == nil {
		return
	}
	_ = r.control.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(r.control, word+"\n") // later reports show whether it has arrived
}

// cancel ends the command: first Nix, which ends its builders, then the container. If the command does not report its end,
// cancel checks whether the engine still answers, so that later calls do not wait for a lost engine.
func (r *running) cancel(ctx context.Context) {
	stopped := false
	if r.control != nil {
		r.send("stop")
		timeout := time.After(stopTimeout)
		for waiting := true; waiting; {
			select {
			case line, ok := <-r.reports:
				stopped = ok && line != "alive"
				waiting = ok && !stopped
			case <-r.ended:
				return
			case <-timeout:
				waiting = false
			}
		}
	}
	if !stopped {
		asking, done := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		if !r.x.session.ping(asking) {
			r.x.session.lose("it did not answer when a command was to end")
		}
		done()
	}
	r.kill()
	r.awaitEnd()
}

// awaitEnd waits until the engine has removed the container.
func (r *running) awaitEnd() {
	select {
	case <-r.ended:
	case <-r.x.session.gone:
	case <-time.After(endTimeout):
	}
}

// vanished returns the error for a container whose connection ended. The engine reports the reason soon, if it still runs.
func (r *running) vanished(ctx context.Context) error {
	select {
	case err := <-r.ended:
		return r.failure(ctx, err)
	case <-ctx.Done():
		return ctx.Err()
	case <-r.x.session.gone:
	case <-time.After(endTimeout):
	}
	return r.failure(ctx, errGone)
}

// errGone is the error if the engine gives no reason.
var errGone = fmt.Errorf("its container is gone: %w", io.ErrUnexpectedEOF)

// result returns the error that a report means.
func (r *running) result(report string) error {
	if report == "missing" {
		return hint.Wrap(fmt.Errorf("run %s: not found in image %s", r.program, r.x.image.name),
			"use an image with bash, coreutils, tar and Nix, such as %s", DefaultImage)
	}
	code, err := strconv.Atoi(strings.TrimPrefix(report, "exit "))
	if err != nil {
		return fmt.Errorf("run %s: unknown report %q", r.program, report)
	}
	if code != 0 {
		return &engine.ExitError{Program: r.program, Code: code, Stderr: r.stderr.String()}
	}
	return nil
}

// failure returns the error for an exec that ended before its command reported an end. err is the error of the engine.
func (r *running) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	what := "run " + r.program
	if err == nil {
		err = errGone
	}
	var exit *dagger.ExecError
	switch {
	case errors.As(err, &exit) && r.control != nil:
		// The container was killed with all of its processes, usually by the kernel, because memory ran out.
		return &engine.ExitError{Program: r.program, Code: exit.ExitCode, Stderr: r.stderr.String()}
	case errors.As(err, &exit):
		err = fmt.Errorf("start its container: exit code %d: %w", exit.ExitCode, err)
	}
	return r.x.explain(ctx, what, err, execRules)
}
