package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// jobResults are the results of two build jobs of the example, on machines with a store and a home each. Tests copy them.
var jobResults = sync.OnceValues(func() (dirs [2]string, err error) {
	file, err := buildOnce()
	if err != nil {
		return dirs, err
	}
	for i := range dirs {
		home := filepath.Join(sharedDir, fmt.Sprintf("machine-%d", i+1))
		dirs[i] = filepath.Join(home, "out")
		if err := os.MkdirAll(home, 0o755); err != nil {
			return dirs, err
		}
		cmd := exec.Command(file, "build", "example", "--engine", "host", "--system", "x86_64-linux", "--contract", "off", "--rebuild=off", "--out", dirs[i])
		cmd.Dir = home
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8", "NIX_REMOTE=local?root=" + filepath.Join(home, "store")}
		if out, err := cmd.CombinedOutput(); err != nil {
			return dirs, fmt.Errorf("build: %w\n%s", err, out)
		}
		makeWritable(home)
	}
	return dirs, nil
})

// publishJob is a job with a secret that publishes what others have built.
type publishJob struct {
	dir            string // with what follows, and out
	build, rebuild string
	server         *cachixtest.Server
	writes         func() []string
}

func newPublishJob(t *testing.T) *publishJob {
	t.Helper()
	needsNix(t)
	results, err := jobResults()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j := &publishJob{dir: dir, build: filepath.Join(dir, "build"), rebuild: filepath.Join(dir, "rebuild")}
	for i, to := range []string{j.build, j.rebuild} {
		if err := os.CopyFS(to, os.DirFS(results[i])); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var writes []string
	j.server = cachixtest.New(cachixtest.Options{Log: func(r cachixtest.Request) {
		if r.Method == "PUT" || strings.Contains(r.Path, "/multipart-nar") || strings.HasSuffix(r.Path, "/pin") {
			mu.Lock()
			defer mu.Unlock()
			writes = append(writes, r.Method+" "+r.Path)
		}
	}})
	t.Cleanup(j.server.Close)
	j.writes = func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(writes) }
	return j
}

// command is a process of publish that finds no program.
func (j *publishJob) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	tmp := filepath.Join(j.dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"publish", "--since", "none", "--cachix", "scopecreep-zip", "--substituter", none, "--cachix-url", j.server.APIURL(), "--confirm-timeout", "0s", "--secret-env", "TOKEN", "--out", "out"}, args...)
	cmd := exec.CommandContext(t.Context(), buildCI(t), args...)
	cmd.Dir = j.dir
	cmd.Env = []string{"PATH=/nonexistent", "HOME=" + tmp, "TMPDIR=" + tmp, "LANG=C.UTF-8", "TOKEN=" + cachixtest.TestToken}
	return cmd
}

func (j *publishJob) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := j.command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// Builds without rebuilds need --rebuild=off. No output counts as reproducible then. Arguments after --against are rebuilds.
func TestPublishWithoutRebuild(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no consent":        {nil, exitUsage, "--rebuild=off"},
		"off":               {[]string{"--rebuild=off", "--pin=false"}, exitOK, "2 of 2 packages good"},
		"off, with rebuild": {[]string{"--rebuild=off", "--against", "REBUILD"}, exitUsage, "exclude each other"},
		"two rebuilds":      {[]string{"--against", "REBUILD", "REBUILD"}, exitFailed, "two are of x86_64-linux"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newPublishJob(t)
			args := append([]string{filepath.Join(j.build, "manifest.json")}, test.args...)
			for i, arg := range args {
				if arg == "REBUILD" {
					args[i] = j.rebuild
				}
			}
			code, _, stderr := j.run(t, args...)
			if code != test.code || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, test.code, test.want, stderr)
			}
			if len(j.server.Pins()) > 0 || (len(j.server.Paths()) > 0) != (code == exitOK) {
				t.Errorf("%d paths, pins %v", len(j.server.Paths()), j.server.Pins())
			}
			if code != exitOK {
				return
			}
			m, err := run.ReadManifest(filepath.Join(j.dir, "out", "manifest.json"))
			if err != nil || m.Cells[0].Packages[0].Reproducible() != run.Unknown || m.Cells[0].Second != nil {
				t.Errorf("%v: %+v", err, m)
			}
		})
	}
}

// Two machines build, a third without Nix publishes: what they agree on is pushed, confirmed and pinned, with one manifest,
// bills of materials and provenance. Run again, it pushes nothing.
func TestPublishWhatTwoMachinesHaveBuilt(t *testing.T) {
	t.Parallel()
	j := newPublishJob(t)
	code, stdout, stderr := j.run(t, j.build, "--against", j.rebuild)
	if code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, stderr)
	}
	if n := len(strings.Fields(stdout)); n != 2 || len(j.server.Pins()) != 2 {
		t.Errorf("%d outputs, pins %v:\n%s", n, j.server.Pins(), stderr)
	}
	m, err := run.ReadManifest(filepath.Join(j.dir, "out", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	cell := m.Cells[0]
	if m.Outcome != run.OutcomeGood || !cell.Published() || !cell.Reported || cell.Second == nil || cell.Second.Engine == nil {
		t.Errorf("manifest: %+v", cell)
	}
	for _, p := range cell.Packages {
		if p.Reproducible() != run.Good || p.Consumer != run.Visible {
			t.Errorf("%s: rebuild %s, consumer %q", p.Package, p.Reproducible(), p.Consumer)
		}
	}
	statement := readTest(t, filepath.Join(j.dir, "out", "provenance.intoto.jsonl"))
	for _, want := range []string{`"reported":true`, `"second":{`, "received/build-1.json", "received/rebuild-1.json", ".cdx.json"} {
		if !strings.Contains(statement, want) {
			t.Errorf("the provenance lacks %s:\n%s", want, statement)
		}
	}
	before := len(j.server.Paths())
	pushed := len(j.writes())
	if code, _, stderr := j.run(t, j.build, "--against", j.rebuild); code != exitOK {
		t.Fatalf("again: exit code %d:\n%s", code, stderr)
	}
	for _, w := range j.writes()[pushed:] {
		if !strings.HasSuffix(w, "/pin") {
			t.Errorf("the second run sends %s", w)
		}
	}
	if after := len(j.server.Paths()); after != before {
		t.Errorf("%d paths after the second run, not %d", after, before)
	}
}

// A publish is interrupted at each step, and run again: nothing is pinned before all is pushed, and no path is sent twice.
func TestPublishInterruptedAndRunAgain(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"verify", "rebuild", "preflight", "push", "confirm", "pin", "sbom"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			j := newPublishJob(t)
			cmd := j.command(t, j.build, "--against", j.rebuild)
			stderr := &watched{word: " " + step + " ", seen: make(chan struct{})}
			cmd.Stderr = stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			exited := make(chan error, 1)
			go func() { exited <- cmd.Wait() }()
			select {
			case <-stderr.seen:
				_ = cmd.Process.Signal(syscall.SIGKILL)
				<-exited
			case <-exited:
				t.Fatalf("it never prints %q:\n%s", step, stderr)
			}
			if pins, paths := len(j.server.Pins()), len(j.server.Paths()); pins > 0 && paths != 10 {
				t.Errorf("%d pins with %d of 10 paths", pins, paths)
			}
			before := j.server.Paths()
			started := len(j.writes())
			code, _, log := j.run(t, j.build, "--against", j.rebuild)
			if code != exitOK || len(j.server.Paths()) != 10 || len(j.server.Pins()) != 2 {
				t.Errorf("exit code %d, %d of 10 paths, pins %v:\n%s", code, len(j.server.Paths()), j.server.Pins(), log)
			}
			completed := 0
			for _, w := range j.writes()[started:] {
				if strings.HasSuffix(w, "/complete") {
					completed++
				}
			}
			if want := 10 - len(before); completed != want {
				t.Errorf("%d paths completed by the second run, want %d", completed, want)
			}
		})
	}
}

// Builds that differ: the summary of the step on GitHub Actions has the difference. --rebuild=warn publishes the build.
func TestPublishShowsTheDifference(t *testing.T) {
	t.Parallel()
	j := newPublishJob(t)
	j.alter(t, j.rebuild, func(n *narinfos) {
		path, references, hash, size := n.first.StorePath, n.first.References, n.first.NARHash.SRI(), n.first.NARSize
		*n.first = *n.second
		n.first.StorePath, n.first.References = path, references
		j.replace(t, j.rebuild, hash, n.second.NARHash.SRI())
		j.replace(t, j.rebuild, fmt.Sprintf(`"narSize": %d`, size), fmt.Sprintf(`"narSize": %d`, n.second.NARSize))
	})
	for mode, code := range map[string]int{enforce: exitDifferent, warn: exitOK} {
		summary := filepath.Join(j.dir, mode+".md")
		writeTest(t, summary, "")
		payload := filepath.Join(j.dir, "event.json")
		writeTest(t, payload, `{"repository": {"full_name": "o/r"}}`)
		cmd := j.command(t, j.build, "--against", j.rebuild, "--rebuild", mode, "--push", map[string]string{enforce: pushAuto, warn: pushNever}[mode])
		cmd.Env = append(cmd.Env, "GITHUB_ACTIONS=true", "GITHUB_EVENT_NAME=push", "GITHUB_EVENT_PATH="+payload, "GITHUB_STEP_SUMMARY="+summary)
		cmd.Env = slices.DeleteFunc(cmd.Env, func(kv string) bool { return strings.HasPrefix(kv, "TOKEN=") }) // the example is of no commit
		out, _ := cmd.CombinedOutput()                                                                        // the exit code says it
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("%s: exit code %d, want %d:\n%s", mode, got, code, out)
		}
		if text := readTest(t, summary); !strings.Contains(text, "differs") && !strings.Contains(text, "NAR hash") {
			t.Errorf("%s: the summary does not have the difference:\n%s", mode, text)
		}
	}
}

// A signature in a narinfo of a job says nothing: it is neither believed nor passed on.
func TestPublishIgnoresSignaturesOfJobs(t *testing.T) {
	t.Parallel()
	j := newPublishJob(t)
	files, err := filepath.Glob(filepath.Join(j.build, "cache", "*.narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		signature := "Sig: cache.nixos.org-1:" + strings.Repeat("A", 86) + "==\n"
		writeTest(t, file, readTest(t, file)+signature)
	}
	const key = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
	code, _, stderr := j.run(t, j.build, "--against", j.rebuild, "--trusted-key", key)
	if code != exitOK || len(j.server.Paths()) != 10 {
		t.Errorf("exit code %d, %d of 10 paths:\n%s", code, len(j.server.Paths()), stderr)
	}
}

// On GitHub Actions, with a secret, the builds must be of the commit of the event, or of --rev.
func TestPublishRefusesAnotherCommit(t *testing.T) {
	t.Parallel()
	const event, other = "0123456789012345678901234567890123456789", "9876543210987654321098765432109876543210"
	for name, test := range map[string]struct {
		rev  string // of the manifests
		args []string
		want string // a part of the error; empty for none
	}{
		"of the event":              {event, nil, ""},
		"another":                   {other, nil, "--rev " + other},
		"of the command line":       {other, []string{"--rev", other}, ""},
		"not of the command line":   {event, []string{"--rev", other}, "not of " + other},
		"none":                      {"", nil, "name no commit"},
		"none, of the command line": {"", []string{"--rev", other}, "not of " + other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newPublishJob(t)
			if test.rev != "" {
				j.replace(t, j.build, `"narHash": "sha256-`, `"rev": "`+test.rev+`", "narHash": "sha256-`)
			}
			payload := filepath.Join(j.dir, "event.json")
			writeTest(t, payload, `{"repository": {"full_name": "o/r"}}`)
			cmd := j.command(t, append([]string{j.build, "--rebuild=off"}, test.args...)...)
			cmd.Env = append(cmd.Env, "GITHUB_ACTIONS=true", "GITHUB_EVENT_NAME=push", "GITHUB_EVENT_PATH="+payload, "GITHUB_SHA="+event)
			out, _ := cmd.CombinedOutput() // the exit code says it
			if code := cmd.ProcessState.ExitCode(); (code == exitOK) != (test.want == "") || !strings.Contains(string(out), test.want) {
				t.Errorf("exit code %d, want %q:\n%s", code, test.want, out)
			}
			if (len(j.writes()) > 0) != (test.want == "") {
				t.Errorf("the cache has got %q", j.writes())
			}
		})
	}
}
