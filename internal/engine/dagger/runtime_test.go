package dagger

import (
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// deniedCaps is the state of an engine's container that Docker 20.10 could not start, on a machine without CAP_SYS_RESOURCE.
const deniedCaps = `created\t0\t128\tfailed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: unable to apply caps: operation not permitted: unknown`

// Dagger itself tries for minutes to reach a container that Docker could not start.
func TestRuntimeThatCannotStartTheEngine(t *testing.T) {
	const made = `test -e "$0.made" && printf '`
	client := `echo made >"${0%/*}/docker.made"; exec sleep 60`
	for _, test := range []struct{ name, docker, client, want, hint string }{
		{
			"the first time", made + deniedCaps + `\n'`, client,
			"start the engine's container dagger-engine-" + engineVersion + ": failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: unable to apply caps: operation not permitted",
			"--engine host",
		},
		{
			"once more", `printf '` + deniedCaps + `\n'`,
			`echo "Error: start engine: failed to start container: failed to run command [docker start dagger-engine-v0.21.8]: exit status 1" >&2; exit 1`,
			"unable to apply caps", "--engine host",
		},
		{
			"it ends again and again",
			`case $1 in logs) echo first; echo no room;; *) test -e "$0.made" && printf 'restarting\t3\t1\t\n' || exit 1;; esac`, client,
			"it ends again and again, exit code 1: no room", "docker logs dagger-engine-" + engineVersion,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := bin(t, "docker", "case $1 in version) echo 20.10.24;; *) "+test.docker+";; esac", "dagger", test.client)
			dir := strings.TrimPrefix(env[0], "PATH=")
			env = append(env, cliVariable+"="+dir+"/dagger", "PATH="+dir+":/usr/bin:/bin")
			start := time.Now()
			_, err := Open(guard(t), Options{System: matrix.X8664Linux, Env: env})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(strings.Join(hint.Of(err), "\n"), test.hint) {
				t.Errorf("error %v, hints %q; want %q and %q", err, hint.Of(err), test.want, test.hint)
			}
			if err != nil && strings.Contains(err.Error(), "does not answer") {
				t.Errorf("error is %v, although Docker answers", err)
			}
			if d := time.Since(start); d > 15*time.Second {
				t.Errorf("it took %s", d)
			}
		})
	}
}

// Dagger does not start a container that it only connects to.
func TestContainerThatIsNotRunning(t *testing.T) {
	env := bin(t, "docker", `case $1 in version) echo 20.10.24;; *) printf 'exited\t0\t137\t\n';; esac`, "dagger", "exec sleep 60")
	env = append(env, cliVariable+"="+strings.TrimPrefix(env[0], "PATH=")+"/dagger")
	_, err := Open(guard(t), Options{System: matrix.X8664Linux, Env: env, RunnerHost: "container://mine"})
	if err == nil || !strings.Contains(err.Error(), "the container is exited") || strings.Join(hint.Of(err), "") != "docker start mine" {
		t.Errorf("error %v, hints %q", err, hint.Of(err))
	}
}

func TestEngineContainerName(t *testing.T) {
	digest := strings.Repeat("0123456789abcdef", 4)
	for host, want := range map[string]string{
		"image://registry.dagger.io/engine:v0.21.8":                       "dagger-engine-v0.21.8",
		"image+podman://localhost:5000/engine":                            "dagger-engine-latest",
		"image://registry.dagger.io/engine:v0.21.8@sha256:" + digest:      "dagger-engine-0123456789abcdef",
		"image://registry.dagger.io/engine:v0.21.8?container=mine&port=1": "mine",
		"container+podman://mine":                                         "mine",
		"docker-container://mine":                                         "mine",
	} {
		a, err := parseAddress(host)
		if got := (engineContainer{}).of(a).name; err != nil || got != want {
			t.Errorf("container of %s is %q, %v; want %q", host, got, err, want)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for host, good := range map[string]bool{
		"tcp://10.0.0.7:1234": true, "unix:///run/x.sock": true, "ssh://arm": true, "image+podman://x/engine:v1": true, "container://mine": true,
		"": false, "ftp://x": false, "localhost:8080": false, "tcp://": false, "tcp://host": false, "unix://run/x.sock": false, "tcp://:80": false, "image+lxc://x": false,
	} {
		if err := CheckAddress(host); (err == nil) != good || !good && len(hint.Of(err)) == 0 {
			t.Errorf("CheckAddress(%q) = %v, hints %q", host, err, hint.Of(err))
		}
	}
}
