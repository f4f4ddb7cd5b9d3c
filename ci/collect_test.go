package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// collectingNix makes a directory of programs that run Nix, and collect all garbage of its store after every command, even
// a failed one. Each writes the command into the file log beside it, because evaluation can read no other directory.
func collectingNix(t *testing.T) (dir, log string) {
	t.Helper()
	dir = t.TempDir()
	log = filepath.Join(dir, "commands")
	store, err := exec.LookPath("nix-store")
	if err != nil {
		t.Skip("needs Nix: apt-get install nix-bin")
	}
	for _, name := range []string{"nix", "nix-store", "nix-build", "nix-instantiate"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf("#!/bin/sh\n%s \"$@\"\ncode=$?\necho \"%s $1 $2\" >>%s\n%s --gc >/dev/null 2>>%s.errors || exit 70\nexit $code\n", program, name, log, store, log)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir, log
}

// shortDir makes a directory for a store whose collector listens on a socket: a socket's path has at most 107 bytes, and
// that of [testing.T.TempDir] has the name of the test.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		makeWritable(dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A garbage collector runs after each command of a run, in a store of the test. It removes nothing that the run still needs.
func TestCollectionAfterEachCommand(t *testing.T) {
	t.Parallel()
	needsTime(t)
	needsNix(t)
	file := buildCI(t)
	for name, args := range map[string][]string{
		"release": {"release", "example", "--rebuild"},
		"check":   {"check", "example"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := shortDir(t)
			programs, log := collectingNix(t)
			cmd := ciCommand(t.Context(), t, file, dir, append(args, "--engine", "host", "--system", "x86_64-linux")...)
			cmd.Env = append(cmd.Env, "PATH="+programs+":"+os.Getenv("PATH"))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			commands := readTest(t, log)
			if err != nil {
				t.Fatalf("%v\n%s\nthe commands were\n%s", err, &stderr, commands)
			}
			if strings.Contains(stderr.String(), "garbage collector") {
				t.Errorf("it warns:\n%s", &stderr)
			}
			if n := strings.Count(commands, "nix eval"); n < 2 {
				t.Errorf("%d evaluations: the collector has not come between an evaluation and the roots", n)
			}
			manifest := map[string]string{"release": "manifest.json", "check": "check.json"}[name]
			m, err := run.ReadManifest(filepath.Join(dir, "out", manifest))
			if err != nil || m.Outcome != run.OutcomeGood {
				t.Errorf("the manifest is %+v, %v", m, err)
			}
			if left := leftBehind(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// The machine's nix.conf makes Nix collect garbage during builds: it requires more free space than any disk has.
func TestAutomaticGarbageCollection(t *testing.T) {
	t.Parallel()
	needsNix(t)
	file, dir := buildCI(t), shortDir(t)
	writeTest(t, filepath.Join(dir, "conf", "nix.conf"), "min-free = 1000000000000000\nmax-free = 10000000000000000\n")
	cmd := ciCommand(t.Context(), t, file, dir, "release", "example", "--rebuild", "--engine", "host", "--system", "x86_64-linux")
	cmd.Env = append(cmd.Env, "NIX_CONF_DIR="+filepath.Join(dir, "conf"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
