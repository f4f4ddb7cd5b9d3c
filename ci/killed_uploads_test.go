package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
)

// A run that is killed during its uploads leaves them open on the server. The next run aborts them, whatever its command.
func TestUploadsOfAKilledRunAreAborted(t *testing.T) {
	t.Parallel()
	needsTime(t)
	needsNix(t)
	system, err := setup.NativeSystem()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	ci := buildCI(t)
	command := func(program string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"), "LANG=C.UTF-8",
			"NIX_REMOTE=local?root=" + filepath.Join(dir, "store"), "NIX_CONFIG=build-users-group =", defaultSecret + "=" + cachixtest.TestToken,
		}
		return cmd
	}
	run := func(name string) []string {
		return []string{name, "example", "--engine", "host", "--rebuild=off", "--contract=off", "--system", string(system), "--served-by", "none"}
	}
	many := []string{"push", "--unrecorded"}
	for i := range 100 {
		file := filepath.Join(dir, fmt.Sprintf("file-%d", i))
		if err := os.WriteFile(file, []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
		path, err := command("nix-store", "--add", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		many = append(many, strings.TrimSpace(string(path)))
	}
	for name, test := range map[string]struct {
		killed, next []string
		stall        string // the endpoint that does not answer the killed run
		uploads      int
	}{
		"release, then release":       {run("release"), run("release"), "complete", 10},
		"release, then warm":          {run("release"), run("warm"), "complete", 10},
		"warm, then push of the rest": {run("warm"), []string{"push", "--resume"}, "complete", 10},
		"push, then push":             {many, many, "part", 64},
	} {
		t.Run(name, func(t *testing.T) {
			server := cachixtest.New(cachixtest.Options{})
			defer server.Close()
			server.Misbehave(cachixtest.Fault{Endpoint: test.stall, Stall: -1})
			out := filepath.Join(t.TempDir(), "out")
			there := []string{"--out", out, "--cachix-url", server.APIURL()}
			cmd := command(ci, append(test.killed, there...)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for begunIn(out) < test.uploads { // the server knows an upload before the run does
				time.Sleep(10 * time.Millisecond)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if n := server.OpenUploads(); n != test.uploads {
				t.Errorf("%d uploads are open, want %d:\n%s", n, test.uploads, &stderr)
			}
			server.Behave()
			began := time.Now()
			log, err := command(ci, append(test.next, there...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, log)
			}
			if n := server.OpenUploads(); n > 0 {
				t.Errorf("%d uploads are open", n)
			}
			left := test.uploads
			for _, r := range server.Requests() {
				// The killed run had sent it, and the server read it after Behave.
				if r.Endpoint == "complete" && r.Time.Before(began) && !r.Faulty {
					left--
				}
			}
			if want := fmt.Sprintf("aborted %d uploads that a killed run had left open", left); !bytes.Contains(log, []byte(want)) {
				t.Errorf("it does not say %q:\n%s", want, log)
			}
			if _, err := os.Stat(filepath.Join(out, "journal")); err == nil {
				t.Error("a journal is left")
			}
			for _, problem := range server.Problems() {
				t.Errorf("a rule of the protocol was broken: %s", problem)
			}
		})
	}
}

// begunIn counts the uploads in the logs of a directory of results.
func begunIn(out string) (n int) {
	files, _ := filepath.Glob(filepath.Join(out, "journal/*.uploads"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		n += bytes.Count(text, []byte("\n+"))
	}
	return n
}
