package container

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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dagger.io/dagger/engineconn"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// session is a session with an engine: the child process "dagger session", and the port on which it takes queries.
// It implements engineconn.EngineConn.
//
// The SDK can start the child by itself, but then the child inherits this whole process's environment, secrets and
// all; it gets the terminal's Ctrl-C before we do; waiting for it does not heed a context; and its errors are a dump.
// Started here, none of this is so. Both sides of the protocol are what every SDK of Dagger relies on:
// https://github.com/dagger/dagger/blob/v0.21.8/cmd/dagger/session.go.
type session struct {
	http   *http.Client
	params engineconn.ConnectParams
	child  *exec.Cmd // nil where the session belongs to "dagger run"
	stdin  io.Closer
	stderr *tail
	done   chan struct{} // closed when the child has ended; never where there is none
	exit   error         // how it has, once done is closed
}

const (
	// An engine that runs answers within a second; where something else listens, the client would wait for five minutes.
	// One that has to be pulled first takes its time.
	dialPatience = 30 * time.Second
	pullPatience = 15 * time.Minute
	// The client says goodbye to the engine, which takes a tenth of a second. It hangs where the engine does.
	closePatience = 3 * time.Second
)

// connect starts a session with the target.
func connect(ctx context.Context, t target, o Options) (*session, error) {
	if t.session != nil {
		return joinSession(*t.session), nil
	}
	cli, err := findCLI(ctx, o.Env, o.Notice)
	if err != nil {
		return nil, err
	}
	limit := dialPatience
	if t.provisioned {
		limit = pullPatience
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	what := "waiting for the " + t.found
	if t.provisioned {
		what = "starting a Dagger engine, whose image may have to be pulled first: " + t.found
	}
	note := time.AfterFunc(patience, func() { o.Notice(what) })
	defer note.Stop()
	s, err := startSession(timed, cli, environment(o.Env, t.host, o.Log == nil), o.Log)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return nil, hint.Wrap(fmt.Errorf("connect to %s: no answer after %s", t.found, limit),
			"see that it is an engine what listens there, and look at its log; where Docker runs it: docker logs dagger-engine-%s", engineVersion)
	case err != nil:
		return nil, explain(t.found, err.Error())
	}
	return s, nil
}

// joinSession uses the session that "dagger run" has started for this process.
func joinSession(p engineconn.ConnectParams) *session {
	s := &session{params: p, done: make(chan struct{}), stderr: &tail{limit: 1}}
	s.http = s.newClient()
	return s
}

func startSession(ctx context.Context, cli string, env []string, log io.Writer) (*session, error) {
	s := &session{done: make(chan struct{}), stderr: &tail{limit: 64 << 10}}
	cmd := exec.Command(cli, "session", "--label", "dagger.io/sdk.name:go", "--label", "dagger.io/sdk.version:"+engineconn.CLIVersion)
	cmd.Dir = "/" // no directory that Dagger could take for a module to load
	cmd.Env = env
	cmd.Stderr = s.stderr
	if log != nil {
		cmd.Stderr = io.MultiWriter(s.stderr, log)
	}
	// A group of its own: a Ctrl-C on the terminal is ours to pass on, after the commands have ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // a helper of its own may hold its standard error open
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
	s.child = cmd
	params := make(chan error, 1)
	go func() {
		defer close(s.done)
		r := bufio.NewReader(stdout)
		line, err := r.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &s.params)
		}
		params <- err
		_, _ = io.Copy(io.Discard, r)
		s.exit = cmd.Wait()
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
	s.http = s.newClient()
	return s, nil
}

func (s *session) newClient() *http.Client {
	dialer := net.Dialer{}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.params.Port))
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", address)
	}}}
}

// Do sends a query.
func (s *session) Do(r *http.Request) (*http.Response, error) {
	r.SetBasicAuth(s.params.SessionToken, "")
	return s.http.Do(r)
}

// Host returns the name under which the SDK addresses the session; [session.Do] dials its port whatever the name.
func (s *session) Host() string { return "dagger" }

// Close ends the child, which ends by itself when its standard input does.
func (s *session) Close() error {
	if s.child == nil {
		return nil
	}
	_ = s.stdin.Close()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		select {
		case <-s.done:
			return nil
		case <-time.After(closePatience):
			_ = syscall.Kill(-s.child.Process.Pid, signal)
		}
	}
	<-s.done
	return nil
}

// lost returns an error where err, of a query, says that the engine is gone, and nil where it does not.
func (s *session) lost(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.done:
		return errLost(fmt.Sprintf("its client has ended: %v", s.exit))
	default:
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errLost(plain(err))
	}
	for _, words := range []string{
		"returned error 502", // by the client, which could not pass the query on
		"engine is shutting down", "no active session", "transport is closing", "client connection is closing", "error reading from server: EOF",
	} {
		if strings.Contains(err.Error(), words) {
			return errLost(plain(err))
		}
	}
	return nil
}

func errLost(reason string) error {
	err := errors.New("the Dagger engine was lost")
	if reason != "" {
		err = fmt.Errorf("the Dagger engine was lost: %s", reason)
	}
	return hint.Wrap(err, "look at the engine's log, start it, and run the same command again; what was built is kept")
}

// A variable that the Dagger client gets, with the reason.
type variable struct{ name, reason string }

// inherited are those that it gets of ours. DAGGER_CLOUD_TOKEN and DAGGER_CLOUD_ENGINE are not among them: the one would
// send logs away, the other builds. None of them reaches a container, but for what run.sh names.
var inherited = []variable{
	{"PATH", "where docker and its credential helpers are"},
	{"HOME", "their configuration and sockets"},
	{"USER", "likewise"},
	{"TMPDIR", "where there is room"},
	{"XDG_CACHE_HOME", "where it keeps itself"},
	{"XDG_CONFIG_HOME", "where the runtimes' configuration is"},
	{"XDG_DATA_HOME", "where rootless runtimes keep their containers"},
	{"XDG_STATE_HOME", "likewise"},
	{"XDG_RUNTIME_DIR", "where rootless runtimes listen"},
	{"DOCKER_HOST", "another Docker than the default one"},
	{"DOCKER_CONTEXT", "likewise"},
	{"DOCKER_CONFIG", "its configuration, and credentials for registries"},
	{"DOCKER_CERT_PATH", "certificates for it"},
	{"DOCKER_TLS_VERIFY", "likewise"},
	{"CONTAINER_HOST", "another Podman than the default one"},
	{"CONTAINERS_CONF", "its configuration"},
	{"KUBECONFIG", "an engine in a cluster"},
	{"SSH_AUTH_SOCK", "an engine over SSH"},
	{"SSL_CERT_FILE", "certificates of a company's proxy"},
	{"SSL_CERT_DIR", "likewise"},
	{"http_proxy", "the way out of this network"},
	{"https_proxy", "likewise"},
	{"no_proxy", "likewise"},
	{"all_proxy", "likewise"},
	{"HTTP_PROXY", "the same, for programs that spell it so"},
	{"HTTPS_PROXY", "likewise"},
	{"NO_PROXY", "likewise"},
	{"ALL_PROXY", "likewise"},
}

// environment returns the whole environment of the Dagger client: a whitelist of env, the engine's address, and
// switches that make it quiet and leave other engines alone.
func environment(env []string, host string, silent bool) []string {
	out := []string{
		"DAGGER_PROGRESS=plain",
		"DAGGER_LEAVE_OLD_ENGINE=1", // else starting ours removes those of other projects while they build
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
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if slices.ContainsFunc(inherited, func(v variable) bool { return v.name == name }) {
			out = append(out, kv)
		}
	}
	return out
}
