package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"dagger.io/dagger/engineconn"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// engineVersion is that of SDK, client and engine alike: they are one release.
const engineVersion = "v" + engineconn.CLIVersion

const (
	runnerHostVariable = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
	cliVariable        = "_EXPERIMENTAL_DAGGER_CLI_BIN"
	portVariable       = "DAGGER_SESSION_PORT"
	tokenVariable      = "DAGGER_SESSION_TOKEN"
)

// target is an engine that was found, or a way to have one started.
type target struct {
	found       string                    // for a person to read
	host        string                    // for the Dagger client; empty leaves the choice to it
	provisioned bool                      // a container runtime starts the engine, and may have to pull it
	session     *engineconn.ConnectParams // the session of "dagger run"
}

// Detect tells whether there is an engine, or a container runtime to start one with, and a Dagger client to use it.
// What it has found is in a few words for a person: "Docker 28.2.2", "Dagger engine at tcp://10.0.0.7:1234".
// It starts nothing, and takes at most some seconds. Errors say what is wrong and carry a hint.
func Detect(ctx context.Context, env []string) (found string, err error) {
	t, err := find(ctx, env, "")
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

// find follows Dagger's own rules, but says at once what Dagger would say after minutes, and goes on to the next
// runtime where Dagger gives up with the first.
func find(ctx context.Context, env []string, host string) (target, error) {
	if port, ok := lookup(env, portVariable); ok && host == "" {
		return findSession(ctx, port, env)
	}
	if host == "" {
		host, _ = lookup(env, runnerHostVariable)
	}
	if host != "" {
		return findHost(ctx, env, host)
	}
	return findRuntime(ctx, env, "")
}

func findSession(ctx context.Context, port string, env []string) (target, error) {
	token, _ := lookup(env, tokenVariable)
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

func findHost(ctx context.Context, env []string, host string) (target, error) {
	t := target{found: "Dagger engine at " + host, host: host}
	scheme, rest, ok := strings.Cut(host, "://")
	u, err := url.Parse(host)
	if !ok || err != nil || rest == "" {
		return t, hint.Wrap(fmt.Errorf("use engine %q: not of the form scheme://address", host), "schemes are %s", strings.Join(schemes, ", "))
	}
	kind, backend, _ := strings.Cut(scheme, "+")
	if old, ok := strings.CutPrefix(scheme, "docker-"); ok {
		kind, backend = old, "docker"
	}
	switch kind {
	case "unix":
		err = dial(ctx, "unix", u.Path)
	case "tcp", "tls":
		err = dial(ctx, "tcp", u.Host)
	case "image", "container":
		runtime, err := findRuntime(ctx, env, backend)
		t.provisioned = true
		t.found += " on " + runtime.found
		return t, err
	case "ssh", "kube-pod":
		// Its own client knows how to get there; nobody else does.
	default:
		return t, hint.Wrap(fmt.Errorf("use engine %s: no such scheme as %q", host, scheme), "schemes are %s", strings.Join(schemes, ", "))
	}
	if err != nil {
		return t, hint.Wrap(fmt.Errorf("use engine %s: %v", host, err), "start it, or correct %s", runnerHostVariable)
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

// runtimes are those that Dagger can start an engine with, in its order.
var runtimes = []struct {
	command, name string
	version       []string
}{
	{"docker", "Docker", []string{"version", "--format", "{{.Server.Version}}"}},
	{"container", "Apple container", []string{"--version"}},
	{"podman", "Podman", []string{"version", "--format", "{{.Client.Version}}"}},
	{"finch", "Finch", []string{"version", "--format", "{{.Server.Version}}"}},
	{"nerdctl", "nerdctl", []string{"version", "--format", "{{.Client.Version}}"}},
}

// findRuntime returns the first runtime that answers, or the one called backend.
func findRuntime(ctx context.Context, env []string, backend string) (target, error) {
	var failed []error
	for _, r := range runtimes {
		if backend != "" && backend != r.command && (backend != "apple" || r.command != "container") {
			continue
		}
		path, ok := lookPath(env, r.command)
		if !ok {
			continue
		}
		version, err := runtimeVersion(ctx, env, path, r.version)
		if ctx.Err() != nil {
			return target{}, ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s does not answer: %v", r.name, err))
			continue
		}
		t := target{found: strings.TrimSpace(r.name + " " + version), provisioned: true}
		if len(failed) > 0 {
			// Dagger gives up where the first runtime on PATH has no daemon: tell it which one has.
			t.host = "image+" + r.command + "://registry.dagger.io/engine:" + engineVersion
		}
		return t, nil
	}
	if len(failed) > 0 {
		return target{}, hint.Wrap(errors.Join(failed...), "start its daemon, or give this user access to it: sudo usermod -aG docker $USER")
	}
	want := "no container runtime and no engine address"
	if backend != "" {
		want = "no " + backend + " on PATH"
	}
	return target{}, hint.Wrap(fmt.Errorf("find a Dagger engine: %s", want),
		"install Docker or Podman, or set %s to an engine's address", runnerHostVariable)
}

func runtimeVersion(ctx context.Context, env []string, path string, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = environment(env, "", true)
	cmd.WaitDelay = 100 * time.Millisecond
	var stderr tail
	stderr.limit = 4 << 10
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("no version after %s", span(runtimeTimeout))
	case err != nil && stderr.String() != "":
		return "", errors.New(lastLine(stderr.String()))
	case err != nil:
		return "", err
	}
	return lastLine(string(out)), nil
}

// lookup returns the value of a variable, the last one where there are several, as a child would see it.
func lookup(env []string, name string) (string, bool) {
	for _, kv := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// lookPath is [exec.LookPath] for the PATH in env.
func lookPath(env []string, name string) (string, bool) {
	path, _ := lookup(env, "PATH")
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
