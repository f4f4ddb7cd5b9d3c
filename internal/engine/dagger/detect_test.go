package dagger

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// bin makes a directory with programs of one line of shell each, given as name and line in turn, and returns it as PATH.
func bin(t *testing.T, programs ...string) []string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(programs); i += 2 {
		script := "#!/bin/sh\n" + programs[i+1] + "\n"
		syscall.ForkLock.RLock() // a child of another test would have the file open for writing: "text file busy"
		err := os.WriteFile(filepath.Join(dir, programs[i]), []byte(script), 0o755)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	return []string{"PATH=" + dir, "HOME=" + dir}
}

func TestFind(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const dead = "echo Cannot connect to the Docker daemon. >&2; exit 1"
	for _, test := range []struct {
		name             string
		env              []string
		host             string
		found, want, err string // the description and the address for Dagger, or the error
		hint             string // a part of the error's
	}{
		{name: "nothing", err: "no container runtime and no engine address"},
		{name: "Docker", env: bin(t, "docker", "echo 28.2.2"), found: "Docker 28.2.2"},
		{name: "dead Docker", env: bin(t, "docker", dead), err: "Docker does not answer: Cannot connect", hint: "usermod -aG docker"},
		{name: "dead Podman", env: bin(t, "podman", dead), err: "Podman does not answer", hint: "podman info"},
		{
			name: "dead Docker, Podman", env: bin(t, "docker", dead, "podman", "echo 5.1.0"),
			found: "Podman 5.1.0", want: "image+podman://registry.dagger.io/engine:" + engineVersion,
		},
		{name: "engine's socket", host: "unix://" + socket, found: "Dagger engine at unix://" + socket, want: "unix://" + socket},
		{name: "from the environment", env: []string{runnerHostVariable + "=unix://" + socket}, found: "Dagger engine at unix://" + socket, want: "unix://" + socket},
		{name: "no such socket", host: "unix:///no/such.sock", err: "no such file or directory", hint: "correct --engine SYSTEM=URL"},
		{name: "no such socket in the environment", env: []string{runnerHostVariable + "=unix:///no/such.sock"}, err: "no such file or directory", hint: "correct " + runnerHostVariable},
		{name: "no listener", host: "tcp://127.0.0.1:1", err: "connection refused"},
		{name: "unknown scheme", host: "ftp://x", err: `no such scheme as "ftp"`},
		{name: "not a URL", host: "localhost", err: "not of the form scheme://address"},
		{
			name: "a container", host: "container+podman://mine", env: bin(t, "docker", dead, "podman", "echo 5.1.0"),
			found: "Dagger engine at container+podman://mine on Podman 5.1.0", want: "container+podman://mine",
		},
		{name: "a container of none", host: "container+podman://mine", env: bin(t, "docker", "echo 1"), err: "no podman on PATH"},
		{name: "dagger run, ended", env: []string{portVariable + "=1", tokenVariable + "=t"}, err: "connection refused"},
		{name: "dagger run, no token", env: []string{portVariable + "=1"}, err: "do not belong together"},
	} {
		t.Run(test.name, func(t *testing.T) {
			target, err := find(t.Context(), test.env, test.host, "--engine SYSTEM=URL")
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(strings.Join(hint.Of(err), "\n"), test.hint) || len(hint.Of(err)) == 0 {
					t.Errorf("error %v, hints %q; want %q and a hint with %q", err, hint.Of(err), test.err, test.hint)
				}
				return
			}
			if err != nil || target.found != test.found || target.host != test.want {
				t.Errorf("found %q, host %q, %v; want %q, %q", target.found, target.host, err, test.found, test.want)
			}
		})
	}
}

func TestClientEnvironment(t *testing.T) {
	env := environment([]string{
		"PATH=/bin", "CACHIX_AUTH_TOKEN=secret", "DAGGER_CLOUD_TOKEN=secret", "GITHUB_TOKEN=secret", "DAGGER_PROGRESS=tty", "DOCKER_HOST=ssh://arm",
	}, "tcp://x:1", false)
	for _, kv := range env {
		if strings.Contains(kv, "secret") || kv == "DAGGER_PROGRESS=tty" {
			t.Errorf("the client gets %s", kv)
		}
	}
	for _, want := range []string{"PATH=/bin", "DOCKER_HOST=ssh://arm", runnerHostVariable + "=tcp://x:1", "DAGGER_LEAVE_OLD_ENGINE=1", "DAGGER_PROGRESS=plain"} {
		if !slices.Contains(env, want) {
			t.Errorf("the client does not get %s", want)
		}
	}
}

// The page on reproducibility names all variables.
func TestVariablesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reproducibility.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range inherited {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/reproducibility.md does not name %s", name)
		}
	}
}
