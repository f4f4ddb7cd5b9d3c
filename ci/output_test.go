package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/example"
)

// failingWriter fails with an error once it has taken some bytes.
type failingWriter struct {
	room int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > w.room {
		n := w.room
		w.room = 0
		return n, &os.PathError{Op: "write", Path: "/dev/stdout", Err: w.err}
	}
	w.room -= len(p)
	return len(p), nil
}

// Every command fails if its output cannot be written.
func TestOutputThatCannotBeWritten(t *testing.T) {
	for _, args := range [][]string{
		{"--help"}, {"--version"}, {"help", "release"}, {"check", "--help"}, {"matrix"}, {"matrix", "--github"}, {},
	} {
		for code, cause := range map[int]error{exitFailed: syscall.ENOSPC, exitInterrupted: syscall.EPIPE} {
			var stderr bytes.Buffer
			process := process{stdout: &failingWriter{room: 10, err: cause}, stderr: &stderr, secrets: secrets{}}
			if got := execute(t.Context(), args, process); got != code {
				t.Errorf("%q, %v: exit code %d, want %d", args, cause, got, code)
			}
			if n := strings.Count(stderr.String(), cause.Error()); n != 1 {
				t.Errorf("%q, %v: the cause is printed %d times:\n%s", args, cause, n, &stderr)
			}
		}
	}
}

// ciCommand is the program in a separate process, with a store, a temporary directory and an OUT below dir.
func ciCommand(ctx context.Context, t *testing.T, file, dir string, args ...string) *exec.Cmd {
	t.Helper()
	tmp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, file, args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"), "LANG=C.UTF-8", "TMPDIR=" + tmp,
		"NIX_REMOTE=local?root=" + filepath.Join(dir, "store"),
	}
	return cmd
}

// leftBehind returns the files in a program's temporary directory, and the processes that use it.
func leftBehind(t *testing.T, dir string) (left []string) {
	t.Helper()
	tmp := filepath.Join(dir, "tmp")
	entries, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if environ, err := os.ReadFile(p + "/environ"); err == nil && bytes.Contains(environ, []byte("TMPDIR="+tmp+"\x00")) {
			command, _ := os.ReadFile(p + "/cmdline")
			left = append(left, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return left
}

// If the reader of standard output or standard error closes it during a build, the run ends like an interrupted one, and leaves
// no temporary files.
func TestReaderThatClosesItsEnd(t *testing.T) {
	t.Parallel()
	needsNix(t)
	file := buildCI(t)
	for name, args := range map[string][]string{"standard output": {"--json"}, "standard error": {"-v"}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Cleanup(func() { makeWritable(dir) })
			if err := example.WriteFixture(filepath.Join(dir, "silent"), "silent"); err != nil {
				t.Fatal(err)
			}
			cmd := ciCommand(t.Context(), t, file, dir, append([]string{
				"build", "./silent", "--engine", "host", "--system", "x86_64-linux", "--package", "open-sesame-desktop",
				"--substituter", "none", "--memlock", "0", "--stall-timeout", "1s",
			}, args...)...)
			var pipe io.ReadCloser
			var err error
			if name == "standard output" {
				pipe, err = cmd.StdoutPipe()
			} else {
				pipe, err = cmd.StderrPipe()
			}
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			building := false
			for lines := bufio.NewScanner(pipe); !building && lines.Scan(); {
				building = strings.Contains(lines.Text(), "buildPhase")
			}
			pipe.Close() // the run notices at its next output, that the build stalls
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); !building || code != exitInterrupted {
				t.Errorf("it ends with %v, and had come to the build: %v", cmd.ProcessState, building)
			}
			if left := leftBehind(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// If the results do not fit on the disk, the command fails with that message.
func TestResultsOnAFullDisk(t *testing.T) {
	t.Parallel()
	needsNix(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	file, dir := buildCI(t), t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	writeTest(t, filepath.Join(dir, "flake/flake.nix"), `{ outputs = _: { packages.x86_64-linux.p = derivation { name = "p"; system = "x86_64-linux"; builder = "/bin/sh"; }; }; }`)
	flags := []string{"--engine", "host", "--system", "x86_64-linux", "--rebuild=off", "--contract=off"}
	for _, args := range [][]string{
		append([]string{"release", "example"}, flags...),
		append([]string{"release", "example", "--json"}, flags...),
		{"plan", "example", "--engine", "host"},
		{"plan", "example", "--engine", "host", "--json"},
		{"check", "example", "--engine", "host", "--system", "x86_64-linux", "--json"},
		{"init", "./flake", "--engine", "host", "--substituter", "none", "--no-contract"},
		{"compare", "out/manifest.json", "out/manifest.json"},
		{"compare", "out/manifest.json", "out/manifest.json", "--json"},
		{"verify", "out/provenance.intoto.jsonl"},
		{"verify", "out/provenance.intoto.jsonl", "--json"},
		{"report", "out/manifest.json", "--system", "x86_64-linux", "--out", "joined.json"},
		{"report", "out/manifest.json", "--system", "x86_64-linux", "--out", "joined.json", "--json"},
		{"reproduce", "out/manifest.json", "--engine", "host"},
		{"doctor"},
		{"matrix"},
	} {
		var stderr bytes.Buffer
		cmd := ciCommand(t.Context(), t, file, dir, args...)
		cmd.Stdout, cmd.Stderr = full, &stderr
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(stderr.String(), syscall.ENOSPC.Error()) {
			t.Errorf("%q: exit code %d\n%s", args, code, &stderr)
		}
	}
}
