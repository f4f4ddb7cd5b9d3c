package dagger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dagger.io/dagger/engineconn"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// engineVersion is that of SDK, client and engine alike: they are one release.
const engineVersion = "v" + engineconn.CLIVersion

const (
	runnerHostVariable = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
	cliVariable        = "_EXPERIMENTAL_DAGGER_CLI_BIN"
	portVariable       = "DAGGER_SESSION_PORT"
	tokenVariable      = "DAGGER_SESSION_TOKEN"
)

// target is an engine that was found, or a container runtime that can start one.
type target struct {
	found       string                    // a description for the user
	host        string                    // the address for the Dagger client; empty leaves the choice to it
	provisioned bool                      // a container runtime starts the engine, and may pull its image
	container   engineContainer           // of the engine, if it runs in a runtime
	session     *engineconn.ConnectParams // the session of "dagger run"
}

// Detect looks for an engine, or a container runtime that can start one, and for a Dagger client. It returns a description
// for the user: "Docker 28.2.2", "Dagger engine at tcp://10.0.0.7:1234". It starts nothing, and waits some seconds for each
// program. Errors have a hint.
func Detect(ctx context.Context, env []string) (found string, err error) {
	t, err := find(ctx, env, "", "")
	if err != nil {
		return "", err
	}
	if t.session == nil {
		if _, err := lookCLI(ctx, env); err != nil {
			return "", err
		}
	}
	return t.found, nil
}

// find follows Dagger's own rules. But it reports problems at once, which Dagger reports after minutes, and tries the next
// runtime if the first one fails. flag is the flag that set the host, for a hint.
func find(ctx context.Context, env []string, host, flag string) (target, error) {
	if port, ok := child.Lookup(env, portVariable); ok && host == "" {
		return findSession(ctx, port, env)
	}
	if host == "" {
		host, _ = child.Lookup(env, runnerHostVariable)
		flag = runnerHostVariable
	}
	if host != "" {
		return findHost(ctx, env, host, flag)
	}
	return findRuntime(ctx, env, "")
}

func findSession(ctx context.Context, port string, env []string) (target, error) {
	token, _ := child.Lookup(env, tokenVariable)
	number, err := strconv.Atoi(port)
	if err != nil || token == "" {
		return target{}, hint.Wrap(fmt.Errorf("use the session of dagger run: %s and %s do not belong together", portVariable, tokenVariable),
			"unset %s", portVariable)
	}
	if err := dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", port)); err != nil {
		return target{}, hint.Wrap(fmt.Errorf("use the session of dagger run: %v", err), "it has ended: unset %s", portVariable)
	}
	return target{found: "session of dagger run", session: &engineconn.ConnectParams{Port: number, SessionToken: token}}, nil
}

// schemes are those of engine/client/drivers in v0.21.8.
var schemes = []string{"unix", "tcp", "tls", "ssh", "kube-pod", "image", "container", "image+RUNTIME", "container+RUNTIME", "docker-image", "docker-container"}

// An address is the parsed address of an engine.
type address struct {
	kind    string // the scheme without a runtime
	runtime string // the runtime in the scheme of a container; empty for any
	url     *url.URL
}

// CheckAddress reports what is wrong with the form of an engine's address. It looks for no engine.
func CheckAddress(host string) error {
	_, err := parseAddress(host)
	return err
}

func parseAddress(host string) (address, error) {
	scheme, rest, ok := strings.Cut(host, "://")
	u, err := url.Parse(host)
	host = nix.Redact(host) // in errors
	if !ok || err != nil || rest == "" {
		return address{}, hint.Wrap(fmt.Errorf("use engine %q: not of the form scheme://address", host), "schemes are %s", strings.Join(schemes, ", "))
	}
	a := address{url: u}
	a.kind, a.runtime, _ = strings.Cut(scheme, "+")
	if old, ok := strings.CutPrefix(scheme, "docker-"); ok {
		a.kind, a.runtime = old, "docker"
	}
	switch a.kind {
	case "unix":
		if u.Host != "" || u.Path == "" {
			return a, hint.Wrap(fmt.Errorf("use engine %s: not the absolute path of a socket", host), "for example unix:///run/dagger/engine.sock")
		}
	case "tcp", "tls":
		if u.Hostname() == "" || u.Port() == "" {
			return a, hint.Wrap(fmt.Errorf("use engine %s: without a host or a port", host), "for example %s://arm.example:8080", a.kind)
		}
	case "image", "container":
		if a.runtime != "" && a.runtime != "apple" && !slices.ContainsFunc(runtimes, func(r containerRuntime) bool { return r.command == a.runtime }) {
			return a, hint.Wrap(fmt.Errorf("use engine %s: no such runtime as %q", host, a.runtime), "runtimes are docker, apple, podman, finch and nerdctl")
		}
	case "ssh", "kube-pod":
	default:
		return a, hint.Wrap(fmt.Errorf("use engine %s: no such scheme as %q", host, scheme), "schemes are %s", strings.Join(schemes, ", "))
	}
	return a, nil
}

func findHost(ctx context.Context, env []string, host, flag string) (target, error) {
	t := target{found: "Dagger engine at " + host, host: host}
	a, err := parseAddress(host)
	if err != nil {
		return t, err
	}
	switch a.kind {
	case "unix":
		err = dial(ctx, "unix", a.url.Path)
	case "tcp", "tls":
		err = dial(ctx, "tcp", a.url.Host)
	case "image", "container":
		by, err := findRuntime(ctx, env, a.runtime)
		t.provisioned = true
		t.found += " on " + by.found
		t.container = by.container.of(a)
		return t, err
	default:
		// ssh and kube-pod: only their own clients can connect.
	}
	switch {
	case ctx.Err() != nil:
		return t, ctx.Err()
	case errors.Is(err, fs.ErrPermission):
		return t, hint.Wrap(fmt.Errorf("use engine %s: %v", host, err), "run as a user who may open this socket")
	case err != nil:
		return t, hint.Wrap(fmt.Errorf("use engine %s: %v", host, err), "start it, or correct %s", flag)
	}
	return t, nil
}

func dial(ctx context.Context, network, address string) error {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// lookPath is [exec.LookPath] for the PATH in env.
func lookPath(env []string, name string) (string, bool) {
	path, _ := child.Lookup(env, "PATH")
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, true
		}
	}
	return "", false
}
