package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

var update = flag.Bool("update", false, "write what is got to the golden files")

// githubEvent is the event that starts a run of GitHub Actions.
type githubEvent struct {
	name      string // GITHUB_EVENT_NAME
	ref       string
	payload   map[string]any
	secret    bool
	variables []string // further ones, "NAME=value"
}

const callersRepository = "ScopeCreep-zip/open-sesame"

// pushed is a push, of a branch or a tag. A called workflow sees the event of its caller.
func pushed(ref string) githubEvent {
	return githubEvent{name: "push", ref: ref, secret: true, payload: map[string]any{
		"ref": ref, "repository": map[string]any{"full_name": callersRepository},
	}}
}

// pulled is a pull request, of the repository itself or of a fork.
func pulled(event, head string, secret bool) githubEvent {
	return githubEvent{name: event, ref: "refs/pull/7/merge", secret: secret, payload: map[string]any{
		"number": 7, "repository": map[string]any{"full_name": callersRepository},
		"pull_request": map[string]any{
			"number": 7, "base": map[string]any{"repo": map[string]any{"full_name": callersRepository}},
			"head": map[string]any{"repo": map[string]any{"full_name": head, "fork": head != callersRepository}},
		},
	}}
}

// githubJob is a job of a run: a directory, the files that its steps write for GitHub, and their output.
type githubJob struct {
	event                githubEvent
	dir                  string
	environ              []string
	stdout, stderr       bytes.Buffer
	output, summary, env string // files
}

// newJob makes the directory of a job, and changes to it.
func newJob(t *testing.T, e githubEvent) *githubJob {
	t.Helper()
	j := newJobElsewhere(t, e)
	t.Chdir(j.dir)
	return j
}

// newJobElsewhere makes the directory of a job whose commands are separate processes.
func newJobElsewhere(t *testing.T, e githubEvent) *githubJob {
	t.Helper()
	dir := t.TempDir()
	j := &githubJob{event: e, dir: dir}
	runner := filepath.Join(dir, "runner") // beside the workspace
	for name, file := range map[string]*string{"output": &j.output, "summary.md": &j.summary, "env": &j.env} {
		*file = filepath.Join(runner, name)
		writeTest(t, *file, "")
	}
	payload, err := json.Marshal(e.payload)
	if err != nil {
		t.Fatal(err)
	}
	writeTest(t, filepath.Join(runner, "event.json"), string(payload))
	j.environ = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"), "LANG=C.UTF-8", "TMPDIR=" + os.TempDir(),
		"GITHUB_ACTIONS=true", "GITHUB_EVENT_NAME=" + e.name, "GITHUB_EVENT_PATH=" + filepath.Join(runner, "event.json"),
		"GITHUB_REF=" + e.ref, "GITHUB_REPOSITORY=" + callersRepository, "GITHUB_SERVER_URL=https://github.com",
		"GITHUB_RUN_ID=1", "GITHUB_RUN_ATTEMPT=2", "CHECK_RUN_ID=41",
		"GITHUB_OUTPUT=" + j.output, "GITHUB_STEP_SUMMARY=" + j.summary, "GITHUB_ENV=" + j.env,
	}, e.variables...)
	return j
}

// in has the job use a Nix store.
func (j *githubJob) in(store string) *githubJob {
	j.environ = append(j.environ, "NIX_REMOTE="+store)
	return j
}

// execute runs the program in the job, and returns its exit code. The clock stands still.
func (j *githubJob) run(t *testing.T, args ...string) int {
	t.Helper()
	secrets := secrets{}
	if j.event.secret {
		secrets[defaultSecret] = cachixtest.TestToken
	}
	return execute(t.Context(), args, process{
		stdout: &j.stdout, stderr: &j.stderr, environ: j.environ, secrets: secrets,
		now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	})
}

// checkMasked checks that commands that use the secret mask it, and that others do not print it.
func (j *githubJob) checkMasked(t *testing.T, command string) {
	t.Helper()
	switch command {
	case "release", "warm", "plan", "report", "push", "pin", "publish":
		j.checkSecret(t)
	default:
		if strings.Contains(j.stderr.String(), cachixtest.TestToken) {
			t.Errorf("%s prints the secret:\n%s", command, &j.stderr)
		}
	}
}

// checkSecret checks that the secret is masked before any other output, and printed nowhere else.
func (j *githubJob) checkSecret(t *testing.T) {
	t.Helper()
	log := j.stderr.String()
	mask := "::add-mask::" + cachixtest.TestToken + "\n"
	if j.event.secret && !strings.HasPrefix(log, mask) {
		t.Errorf("the log does not begin with a mask:\n%.200s", log)
	}
	for name, text := range map[string]string{
		"log": strings.ReplaceAll(log, mask, ""), "standard output": j.stdout.String(),
		"outputs": readTest(t, j.output), "summary": readTest(t, j.summary), "environment": readTest(t, j.env),
	} {
		if strings.Contains(text, cachixtest.TestToken) {
			t.Errorf("the %s has the secret:\n%s", name, text)
		}
	}
}

// asInShell returns the file that matches a pattern, or the pattern if none does.
func asInShell(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) > 1 {
		t.Fatal(files, err)
	}
	if len(files) == 0 {
		return pattern
	}
	return files[0]
}

func writeTest(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readTest(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	nixVersion     = regexp.MustCompile(`Nix \d+[\w.]*`)
	compressedSize = regexp.MustCompile(`(paths, )[\d.]+ \w+`)
)

// goldenEvent compares the files of a run with testdata/events/NAME, without the version of Nix and compressed sizes.
func goldenEvent(t *testing.T, name, got string) {
	t.Helper()
	got = compressedSize.ReplaceAllString(nixVersion.ReplaceAllString(got, "Nix VERSION"), "${1}SIZE")
	file := filepath.Join(testdata, "events", name)
	if *update {
		writeTest(t, file, got)
	}
	if diff := cmp.Diff(readTest(t, file), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// testdata, whatever directory a test is in.
var testdata, _ = filepath.Abs("testdata")

// needsTime skips a test that takes a processor for ten seconds or more.
func needsTime(t *testing.T) {
	t.Helper()
	if os.Getenv("OPEN_SESAME_CI_ALL") == "" {
		t.Skip("takes long; set OPEN_SESAME_CI_ALL=1")
	}
}

// needsNix skips the test if Nix is missing, and returns a store of the test's own, in the form of NIX_REMOTE.
func needsNix(t *testing.T) (store string) {
	t.Helper()
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs Nix and root: apt-get install nix-bin")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the golden files are of x86_64-linux")
	}
	dir := filepath.Join(t.TempDir(), "store")
	t.Cleanup(func() { makeWritable(dir) })
	return "local?root=" + dir
}

// fakeSystemd puts a systemd-analyze on PATH that accepts every unit: golden files have the number of checks, which depends on
// the machine's systemd.
func fakeSystemd(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "systemd-analyze"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// For each event, with its environment, payload and files: what is pushed and pinned, what is refused, what GitHub shows.
func TestEventsOnGitHub(t *testing.T) {
	store := needsNix(t)
	fakeSystemd(t)
	const fork = "stranger/open-sesame"
	called := pushed("refs/heads/main")
	called.variables = []string{"GITHUB_WORKFLOW=Release", "GITHUB_WORKFLOW_REF=" + callersRepository + "/.github/workflows/release.yml@refs/heads/main"}
	warm := newJob(t, pulled("pull_request", fork, false)).in(store) // builds what all of them use
	if code := warm.run(t, "build", "example", "--engine", "host", "--system", "x86_64-linux"); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, &warm.stderr)
	}
	for name, test := range map[string]struct {
		event   githubEvent
		command string
		code    int
		paths   int // in the cache at the end
		pins    []string
	}{
		"push":             {pushed("refs/heads/main"), "release", 0, 10, []string{"open-sesame-desktop-x86_64-linux", "open-sesame-x86_64-linux"}},
		"tag":              {pushed("refs/tags/v1.14.2"), "release", 0, 10, []string{"open-sesame-desktop-x86_64-linux", "open-sesame-x86_64-linux"}},
		"workflow_call":    {called, "release", 0, 10, []string{"open-sesame-desktop-x86_64-linux", "open-sesame-x86_64-linux"}},
		"pull_request":     {pulled("pull_request", callersRepository, true), "warm", 0, 10, nil},
		"fork":             {pulled("pull_request", fork, false), "warm", 0, 0, nil},
		"fork_with_secret": {pulled("pull_request", fork, true), "warm", exitUsage, 0, nil},
		"pull_request_target": {
			pulled("pull_request_target", callersRepository, true), "release", exitUsage, 0, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := cachixtest.New(cachixtest.Options{})
			defer server.Close()
			j := newJob(t, test.event).in(store)
			cell := j.run(t, test.command, "example", "--engine", "host", "--system", "x86_64-linux", "--out", "cells/x86_64-linux",
				"--cachix-url", server.APIURL(), "--confirm-timeout", "0s", "--pin=false", "--summary=false")
			result := jobSuccess
			if cell != 0 {
				result = jobFailure
			}
			if readTest(t, j.summary) != "" {
				t.Error("the cell has written a summary, despite --summary=false")
			}
			report := j.run(t, "report", asInShell(t, "cells/*/manifest.json"), "--system", "x86_64-linux", "--cachix-url", server.APIURL(),
				"--jobs-result", result)
			if cell != test.code || report != test.code {
				t.Fatalf("exit codes %d and %d, want %d:\n%s", cell, report, test.code, &j.stderr)
			}
			if paths := server.Paths(); len(paths) != test.paths {
				t.Errorf("%d paths are in the cache, want %d: %v", len(paths), test.paths, paths)
			}
			var pins []string
			for pin := range server.Pins() {
				pins = append(pins, pin)
			}
			slices.Sort(pins)
			if diff := cmp.Diff(test.pins, pins); diff != "" {
				t.Errorf("pins (-want +got):\n%s", diff)
			}
			if problems := server.Problems(); len(problems) > 0 {
				t.Errorf("rules of the protocol were broken: %v", problems)
			}
			goldenEvent(t, name+".md", readTest(t, j.summary))
			goldenEvent(t, name+".outputs.txt", readTest(t, j.output))
			j.checkSecret(t)
			if env := readTest(t, j.env); env != "" {
				t.Errorf("later steps get an environment: %q", env)
			}
		})
	}
}
