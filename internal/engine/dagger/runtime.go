package dagger

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// A containerRuntime is a program that runs containers.
type containerRuntime struct {
	command, name string
	version       []string // arguments that print its version
	hint          string   // if it does not answer
}

// runtimes are those that Dagger can start an engine with, in its order.
var runtimes = []containerRuntime{
	{"docker", "Docker", []string{"version", "--format", "{{.Server.Version}}"}, "start its daemon, or give this user access to it: sudo usermod -aG docker $USER"},
	{"container", "Apple container", []string{"--version"}, "start it: container system start"},
	{"podman", "Podman", []string{"version", "--format", "{{.Client.Version}}"}, "see what is wrong: podman info"},
	{"finch", "Finch", []string{"version", "--format", "{{.Server.Version}}"}, "see what is wrong: finch info"},
	{"nerdctl", "nerdctl", []string{"version", "--format", "{{.Client.Version}}"}, "see what is wrong: nerdctl info"},
}

// findRuntime returns the first runtime that answers, or the one called backend.
func findRuntime(ctx context.Context, env []string, backend string) (target, error) {
	var failed []error
	for _, r := range runtimes {
		if backend != "" && backend != r.command && (backend != "apple" || r.command != "container") {
			continue
		}
		program, ok := lookPath(env, r.command)
		if !ok {
			continue
		}
		version, err := askRuntime(ctx, env, program, r.version)
		if ctx.Err() != nil {
			return target{}, ctx.Err()
		}
		if err != nil {
			failed = append(failed, hint.Wrap(fmt.Errorf("%s does not answer: %v", r.name, err), "%s", r.hint))
			continue
		}
		t := target{
			found: strings.TrimSpace(r.name + " " + lastLine(version)), provisioned: true,
			container: engineContainer{runtime: program, command: r.command, name: enginePrefix + engineVersion, env: env},
		}
		if len(failed) > 0 {
			// Dagger fails if the first runtime on PATH has no daemon. This address names the one that has.
			t.host = "image+" + r.command + "://registry.dagger.io/engine:" + engineVersion
		}
		return t, nil
	}
	if len(failed) > 0 {
		return target{}, errors.Join(failed...)
	}
	want := "no container runtime and no engine address"
	if backend != "" {
		want = "no " + backend + " on PATH"
	}
	return target{}, hint.Wrap(fmt.Errorf("find a Dagger engine: %s", want),
		"install Docker or Podman, or set %s to an engine's address", runnerHostVariable)
}

// askRuntime returns what a command of a runtime prints.
func askRuntime(ctx context.Context, env []string, path string, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = environment(env, "", true)
	cmd.WaitDelay = 100 * time.Millisecond
	var out strings.Builder
	cmd.Stdout = &out
	stderr, err := child.Run(ctx, cmd)
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("no answer after %s", span(runtimeTimeout))
	case err != nil && stderr != "":
		return "", errors.New(lastLine(stderr))
	}
	return strings.TrimSpace(out.String()), err
}

// engineContainer is the container of the engine. The zero value is for an engine without a runtime.
type engineContainer struct {
	runtime  string // the program's path
	command  string // its name, for a hint
	name     string // of the container
	existing bool   // Dagger uses it as it is, and does not start it
	env      []string
}

// of returns the container of an address.
func (c engineContainer) of(a address) engineContainer {
	if a.kind == "container" {
		c.name, c.existing = a.url.Host, true
		return c
	}
	if name := a.url.Query().Get("container"); name != "" {
		c.name = name
		return c
	}
	// Dagger names it by the image's digest, or else by its tag.
	const digestLength = 16
	version := "latest"
	image := path.Base(a.url.Path)
	if _, digest, ok := strings.Cut(image, "@sha256:"); ok && len(digest) > digestLength {
		version = digest[:digestLength]
	} else if _, tag, ok := strings.Cut(image, ":"); ok {
		version = tag
	}
	c.name = enginePrefix + version
	return c
}

// enginePrefix begins the names that Dagger gives to the containers of engines.
const enginePrefix = "dagger-engine-"

// containerState is the state of a container in a runtime.
type containerState struct {
	status   string // "running", "created", "restarting", …
	restarts int
	code     int
	reason   string // why its last start failed
}

const stateFormat = "{{.State.Status}}\t{{.RestartCount}}\t{{.State.ExitCode}}\t{{.State.Error}}"

// state returns the state of the container. It is zero if there is no container, or if the runtime does not report it.
func (c engineContainer) state(ctx context.Context) containerState {
	if c.runtime == "" || c.command == "container" { // Apple's runtime has no such format
		return containerState{}
	}
	out, err := askRuntime(ctx, c.env, c.runtime, []string{"container", "inspect", "--format", stateFormat, c.name})
	fields := strings.SplitN(out, "\t", 4)
	if err != nil || len(fields) < 3 {
		return containerState{}
	}
	s := containerState{status: fields[0]}
	s.restarts, _ = strconv.Atoi(fields[1])
	s.code, _ = strconv.Atoi(fields[2])
	if len(fields) > 3 {
		s.reason = strings.Join(strings.Fields(fields[3]), " ")
	}
	return s
}

// failure returns why the container cannot run, or nil if its state does not show that. Before is its state before Dagger
// was asked to start it.
func (c engineContainer) failure(ctx context.Context, before, now containerState) error {
	switch {
	case now.reason != "":
		return hint.Wrap(fmt.Errorf("start the engine's container %s: %s", c.name, now.reason),
			"the engine needs a privileged container, which %s has to be able to start; to do without: --engine host", c.command)
	case now.status == "restarting" && now.restarts >= before.restarts+2:
		log, err := askRuntime(ctx, c.env, c.runtime, []string{"logs", "--tail", "1", c.name})
		if err != nil {
			log = err.Error()
		}
		return hint.Wrap(fmt.Errorf("start the engine's container %s: it ends again and again, exit code %d: %s", c.name, now.code, lastLine(log)),
			"see its log: %s logs %s", c.command, hint.Quote(c.name))
	}
	return nil
}

// awaitFailure returns why the container cannot run as soon as its state shows it, and nil when the context ends. Dagger
// itself tries for minutes to reach a container that was never started.
func (c engineContainer) awaitFailure(ctx context.Context, before containerState) error {
	if c.runtime == "" || before.reason != "" {
		return nil // the reason is that of an earlier start, and Dagger fails at once if another start fails
	}
	tick := time.NewTicker(stateInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := c.failure(ctx, before, c.state(ctx)); err != nil && ctx.Err() == nil {
			return err
		}
	}
}
