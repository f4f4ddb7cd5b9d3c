package dagger

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"dagger.io/dagger/engineconn"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// session is a session with an engine: the child process "dagger session" and the port for its queries. It implements
// engineconn.EngineConn.
//
// The SDK can start the child itself. But then the child inherits the whole environment with its secrets, gets the Ctrl-C of
// the terminal before this process, ignores the context, and prints errors that are hard to read. All SDKs of Dagger use
// this protocol:
// https://github.com/dagger/dagger/blob/v0.21.8/cmd/dagger/session.go.
type session struct {
	http   *http.Client
	params engineconn.ConnectParams
	child  *exec.Cmd // nil if the session belongs to "dagger run"
	stdin  io.Closer
	stdout io.Closer
	stderr *child.Tail
	done   chan struct{} // closed when the child has ended; never if there is none
	limits limits

	gone    chan struct{} // closed when the engine counts as lost; see lose
	losing  sync.Once
	loss    error // the reason, once gone is closed
	unwatch context.CancelFunc
}

func newSession(l limits) *session {
	s := &session{
		stderr: &child.Tail{Limit: 64 << 10}, done: make(chan struct{}), gone: make(chan struct{}), limits: l, unwatch: func() {},
	}
	dialer := net.Dialer{}
	s.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.params.Port)))
	}}}
	return s
}

// connect starts a session with the target.
func connect(ctx context.Context, t target, o Options) (*session, error) {
	if t.session != nil {
		return joinSession(*t.session, o.limits), nil
	}
	cli, err := findCLI(ctx, o)
	if err != nil {
		return nil, err
	}
	limit, what := o.limits.answer, "waiting for the "+t.found
	if t.provisioned {
		limit, what = o.limits.provision, "starting a Dagger engine, whose image may have to be pulled first: "+t.found
	}
	defer o.noticeLong(atMost(what, limit))()
	before := t.container.state(ctx)
	if t.container.existing && before.status != "" && before.status != "running" {
		return nil, hint.Wrap(fmt.Errorf("connect to %s: the container is %s", t.found, before.status), "%s start %s", t.container.command, hint.Quote(t.container.name))
	}
	timed, cancel := context.WithTimeoutCause(ctx, limit, t.noAnswer(limit))
	defer cancel()
	timed, fail := context.WithCancelCause(timed)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := t.container.awaitFailure(timed, before); err != nil {
			fail(err)
		}
	}()
	s, err := startSession(timed, cli, environment(o.Env, t.host, o.Log == nil), o)
	failure := context.Cause(timed)
	fail(nil)
	<-watched
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case failure == nil:
		failure = t.container.failure(ctx, containerState{}, t.container.state(ctx))
	}
	if failure != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.found, failure)
	}
	return nil, explainConnection(t, cli, err.Error(), o)
}

// noAnswer returns the error of an engine that does not answer.
func (t target) noAnswer(limit time.Duration) error {
	err := fmt.Errorf("no answer after %s", span(limit))
	if t.provisioned {
		return hint.Wrap(err, "look at the engine's log: %s logs %s", t.container.command, hint.Quote(t.container.name))
	}
	return hint.Wrap(err, "check that a Dagger engine listens there, and that it is neither stopped nor stuck: see its log")
}

// joinSession uses the session that "dagger run" has started for this process.
func joinSession(p engineconn.ConnectParams, l limits) *session {
	s := newSession(l)
	s.params = p
	return s
}

func startSession(ctx context.Context, cli string, env []string, o Options) (*session, error) {
	s := newSession(o.limits)
	cmd := exec.Command(cli, "session", "--label", "dagger.io/sdk.name:go", "--label", "dagger.io/sdk.version:"+engineconn.CLIVersion)
	cmd.Dir = "/" // no directory that Dagger could take for a module to load
	cmd.Env = env
	cmd.Stderr = s.stderr
	if o.Log != nil {
		cmd.Stderr = io.MultiWriter(s.stderr, o.Log)
	}
	// It has its own process group: on Ctrl-C, this process first ends the commands.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // one of its children may keep its standard error open
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.child, s.stdout = cmd, stdout
	params := make(chan error, 1)
	go func() {
		r := bufio.NewReader(stdout)
		line, err := r.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &s.params)
		}
		params <- err
		_, _ = io.Copy(io.Discard, r)
		err = cmd.Wait()
		close(s.done)
		s.lose(fmt.Sprintf("its client has ended: %v", err))
	}()
	select {
	case err = <-params:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = s.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		text := s.stderr.String()
		if text == "" && !errors.Is(err, io.EOF) {
			text = err.Error()
		}
		return nil, errors.New(text)
	}
	return s, nil
}

// Do sends a query.
func (s *session) Do(r *http.Request) (*http.Response, error) {
	r.SetBasicAuth(s.params.SessionToken, "")
	return s.http.Do(r)
}

// Host returns the name of the session for the SDK; [session.Do] ignores it.
func (s *session) Host() string { return "dagger" }

// Close ends the child by closing its standard input. If the engine is lost, the child was killed before.
func (s *session) Close() error {
	s.unwatch()
	if s.child == nil {
		return nil
	}
	_ = s.stdin.Close()
	for _, end := range []func(){func() { s.signal(syscall.SIGINT) }, s.kill} {
		select {
		case <-s.done:
			return nil
		case <-time.After(closeTimeout):
			end()
		}
	}
	select {
	case <-s.done:
	case <-time.After(closeTimeout): // it is blocked in the kernel
	}
	return nil
}

// signal sends a signal to the child and the processes that it has started.
func (s *session) signal(sig syscall.Signal) {
	select {
	case <-s.done: // another process may have its number now
	default:
		_ = syscall.Kill(-s.child.Process.Pid, sig)
	}
}

// kill ends the child at once. It closes the output, because a process that the child has started may keep that open.
func (s *session) kill() {
	s.signal(syscall.SIGKILL)
	_ = s.stdout.Close()
}

// inherited are the variables that the Dagger client gets. DAGGER_CLOUD_TOKEN and DAGGER_CLOUD_ENGINE are not among them:
// the first would send logs away, the second would build elsewhere. Containers get none of them, except those that run.sh
// names.
var inherited = append([]string{
	"PATH",              // finds docker and its credential helpers
	"HOME",              // their configuration and sockets
	"USER",              // the same
	"TMPDIR",            // a directory with enough space
	"XDG_CACHE_HOME",    // has the client
	"XDG_CONFIG_HOME",   // the configuration of container runtimes
	"XDG_DATA_HOME",     // the containers of rootless runtimes
	"XDG_STATE_HOME",    // the same
	"XDG_RUNTIME_DIR",   // the sockets of rootless runtimes
	"DOCKER_HOST",       // another Docker than the default one
	"DOCKER_CONTEXT",    // the same
	"DOCKER_CONFIG",     // its configuration, and credentials for registries
	"DOCKER_CERT_PATH",  // its certificates
	"DOCKER_TLS_VERIFY", // the same
	"CONTAINER_HOST",    // another Podman than the default one
	"CONTAINERS_CONF",   // its configuration
	"KUBECONFIG",        // an engine in a cluster
	"SSH_AUTH_SOCK",     // an engine over SSH
	"SSL_CERT_FILE",     // certificates of a company's proxy
	"SSL_CERT_DIR",      // the same
}, child.Proxies...)

// environment returns the environment of the Dagger client: the allowed variables of env, the engine's address, and
// switches that make it quiet and keep it from other engines.
func environment(env []string, host string, silent bool) []string {
	out := []string{
		"DAGGER_PROGRESS=plain",
		"DAGGER_LEAVE_OLD_ENGINE=1", // otherwise a new engine replaces those of other projects during their builds
		"DAGGER_NO_NAG=1",
		"DAGGER_NO_UPDATE_CHECK=1",
		"DO_NOT_TRACK=1",
		"NO_COLOR=1",
		"LC_ALL=C.UTF-8", // messages are parsed
	}
	if silent {
		out = append(out, "DAGGER_SILENT=1")
	}
	if host != "" {
		out = append(out, runnerHostVariable+"="+host)
	}
	return append(out, child.Select(env, inherited...)...)
}
