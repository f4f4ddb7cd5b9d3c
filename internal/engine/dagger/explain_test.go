package dagger

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// The output of a client v0.21.8 that fails: the first two are recorded, the others are from its source.
func TestExplain(t *testing.T) {
	for _, test := range []struct{ stderr, want, hint string }{
		{
			"1   : connect\n1   : connect ERROR [0.0s]\n1   : ! start engine: driver for scheme \"image\" was not available\n\n" +
				"Error: start engine: driver for scheme \"image\" was not available [traceparent:b96c33b2af87fc57c4f06a812015f2fb-7a5eeb988aa30c26]\n",
			"no container runtime was found: start engine: driver", "install Docker",
		},
		{
			"2   : ┆ [0.0s] | Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n" +
				"2   : ┆ exec docker version ERROR [0.0s]\n2   : ┆ ! failed to run command [docker version]: exit status 1\n" +
				"Error: start engine: failed to run command [docker version]: exit status 1 [traceparent:92c5b303cca33df46b88e25a7ce7d0f8-8bb5f7076d19881c]\n",
			"the container runtime failed: start engine: failed to run command", "its own message: docker version",
		},
		{"Error: start engine: no driver for scheme \"ftp\" found", "unknown scheme", "schemes are unix, tcp"},
		{"3 : [0.1s] | failed to pull image: dial tcp: lookup registry.dagger.io: no such host", "could not be pulled", "docker load"},
		{"Error: remote is not a valid dagger server", "not a Dagger engine", "check host and port"},
		{"Error: incompatible engine version v0.18.0", "the engine is too old for the Dagger client", "use an engine v0."},
		{"Error: start session: unexpected status 500: incompatible client version v0.18.0", "the Dagger client is too old", "instead of /bin/dagger: unset or correct " + cliVariable},
		{"Error: start engine: failed to start container: failed to run command [docker start dagger-engine-v0.21.8]: exit status 1", "failed to start container", "its own message: docker start dagger-engine-v0.21.8"},
		{"Error: start engine: failed to pull image: failed to run command [docker pull example/engine]: exit status 1", "could not be pulled", "for the reason: docker pull example/engine"},
		{"Error: dial unix /run/x.sock: connect: connection refused", "nothing listens there", "start the engine"},
		{"Error: start engine: new client: failed to call info: Unimplemented: unexpected HTTP status code received from server: 404 (Not Found)", "not a Dagger engine", "check host"},
		{"something\nunknown until now\n", "unknown until now", "with -v, which keeps the log"},
		{"", "without output", "with -v"},
	} {
		err := explainConnection(target{found: "Docker 28"}, "/bin/dagger", test.stderr, Options{})
		if !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "connect to Docker 28: ") {
			t.Errorf("explain(%q) = %v, want one with %q", test.stderr, err, test.want)
		}
		if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "traceparent") {
			t.Errorf("explain(%q) = %v has more than one line for the user", test.stderr, err)
		}
		if hints := hint.Of(err); len(hints) != 1 || !strings.Contains(hints[0], test.hint) {
			t.Errorf("explain(%q): hints %q, want one with %q", test.stderr, hints, test.hint)
		}
	}
}

// Recorded messages of an engine v0.21.8, and the messages for the user.
func TestExplainedCall(t *testing.T) {
	for _, test := range []struct {
		name, engine, want, hint string
		kind                     error
		rules                    []rule
	}{
		{
			name: "full disk, loading", rules: imageRules, kind: engine.ErrDiskFull,
			engine: "failed to get snapshot: failed to create directory: mkdir /var/lib/dagger/worker/snapshots/snapshots/1/fs/root: no space left on device",
			want:   "the engine's disk is full: failed to get snapshot: failed to create directory: mkdir /var/lib/dagger", hint: runnerHostVariable + "=tcp://x:1 dagger core engine local-cache prune",
		},
		{
			name: "full disk, running", rules: execRules, kind: engine.ErrDiskFull,
			engine: "failed to prepare mounts: write /var/lib/dagger/worker/containerdmeta.db: no space left on device",
			want:   "containerdmeta.db: no space left on device", hint: "local-cache prune",
		},
		{name: "no loader", rules: execRules, engine: "exit code: 1: fork/exec /bin/bash: no such file or directory", want: "bash of the image cannot be started: exit code: 1: fork/exec", hint: "use an image with bash"},
		{name: "no bash", rules: execRules, engine: `exit code: 1: exec: "bash": executable file not found in $PATH`, want: "the image has no bash", hint: "use an image with bash"},
		{name: "a file of the engine", rules: execRules, engine: "lstat /var/lib/dagger/worker/x: no such file or directory", want: "do it: lstat /var/lib/dagger/worker/x: no such file or directory"},
		{name: "shuts down", rules: execRules, kind: engine.ErrEngineLost, engine: "engine is shutting down", want: "the engine was lost: engine is shutting down", hint: "empty cache"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := &Executor{session: newSession(defaultLimits), host: "tcp://x:1"}
			err := x.explain(t.Context(), "do it", errors.New("input: "+test.engine+" [traceparent:0a-1b]"), test.rules)
			hints := strings.Join(hint.Of(err), "\n")
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(hints, test.hint) || test.hint == "" && hints != "" {
				t.Errorf("error %v, hints %q; want %q, %q", err, hints, test.want, test.hint)
			}
			for _, kind := range []error{engine.ErrDiskFull, engine.ErrEngineLost} {
				if errors.Is(err, kind) != (kind == test.kind) {
					t.Errorf("%v is of the kind %q: %t", err, kind, errors.Is(err, kind))
				}
			}
			if strings.Contains(hints, "is kept") || strings.Contains(err.Error(), "traceparent") {
				t.Errorf("error %v, hints %q", err, hints)
			}
		})
	}
}

// The hint names a log only if there is one.
func TestExplainNamesLog(t *testing.T) {
	err := explainConnection(target{found: "Docker 28"}, "/bin/dagger", "unknown", Options{Log: io.Discard, LogFile: "out/logs/1/engine.log"})
	if got := hint.Of(err); len(got) != 1 || !strings.HasSuffix(got[0], ": out/logs/1/engine.log") {
		t.Errorf("hints %q", got)
	}
}

func TestPlainError(t *testing.T) {
	for in, want := range map[string]string{
		"input: container.from failed [traceparent:00-1]":                         "container.from failed",
		`returned error 502: {"data":null,"errors":[{"message":"http do: EOF"}]}`: "http do: EOF",
		"returned error 502: <html>":                                              "returned error 502: <html>",
		"two\nlines":                                                              "two lines",
	} {
		if got := plain(errors.New(in)); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}
