package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// A release is interrupted at the end of each step, and by time limits spread over its length. It ends with 0 only if all was
// exported, pushed and pinned, and leaves no temporary files.
func TestReleaseInterruptedBetweenSteps(t *testing.T) {
	t.Parallel()
	needsTime(t)
	needsNix(t)
	file, dir := buildCI(t), t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	runs := 0
	release := func(args ...string) (*exec.Cmd, *cachixtest.Server, string) {
		server := cachixtest.New(cachixtest.Options{})
		t.Cleanup(server.Close)
		runs++
		out := fmt.Sprintf("out-%d", runs)
		cmd := ciCommand(t.Context(), t, file, dir, append([]string{
			"release", "example", "--engine", "host", "--out", out, "--contract", "off", "--system", "x86_64-linux", "--cachix-url", server.APIURL(),
		}, args...)...)
		cmd.Env = append(cmd.Env, defaultSecret+"="+cachixtest.TestToken)
		return cmd, server, out
	}
	check := func(name string, cmd *exec.Cmd, stderr string, server *cachixtest.Server, out string, want ...int) {
		t.Helper()
		code := cmd.ProcessState.ExitCode()
		m, err := run.ReadManifest(filepath.Join(dir, out, "manifest.json"))
		good := err == nil && m.Outcome == run.OutcomeGood
		if done := len(server.Pins()) == 2; (code == exitOK || good) && !done {
			t.Errorf("%s: exit code %d, the manifest says good: %v, and %d of 2 outputs are pinned:\n%s", name, code, good, len(server.Pins()), stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, out, provenance.FileName)); code == exitOK && err != nil {
			t.Errorf("%s: exit code 0 without provenance: %v", name, err)
		}
		if code != exitOK && !slices.Contains(want, code) {
			t.Errorf("%s: exit code %d:\n%s", name, code, stderr)
		}
		if left := leftBehind(t, dir); len(left) > 0 {
			t.Errorf("%s: left behind: %q", name, left)
		}
	}
	whole, server, out := release()
	var stderr bytes.Buffer
	whole.Stderr = &stderr
	started := time.Now()
	if err := whole.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	check("whole", whole, stderr.String(), server, out)
	took := time.Since(started)

	for _, step := range []string{"snapshot", "preflight", "evaluate", "plan", "probe", "build", "rebuild", "export", "push", "confirm", "pin", "manifest"} {
		cmd, server, out := release()
		stderr := &watched{word: " " + step + " ", seen: make(chan struct{})}
		cmd.Stderr = stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan error, 1)
		go func() { exited <- cmd.Wait() }()
		select {
		case <-stderr.seen:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			<-exited
		case <-exited:
			t.Errorf("it never prints %q:\n%s", step, stderr)
		}
		check("after "+step, cmd, stderr.String(), server, out, exitInterrupted)
	}
	for i := range 4 {
		limit := took * time.Duration(i+1) / 4
		cmd, server, out := release("--timeout", limit.String())
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run()
		// If everything is built and the push is out of time, the exit code is 5.
		check("--timeout "+limit.String(), cmd, stderr.String(), server, out, exitFailed, exitPublish)
		if timedOut := strings.Contains(stderr.String(), "(--timeout)"); timedOut != (cmd.ProcessState.ExitCode() != exitOK) {
			t.Errorf("--timeout %s: %v:\n%s", limit, cmd.ProcessState, &stderr)
		}
	}
}
