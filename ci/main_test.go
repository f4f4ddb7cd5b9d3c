package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/probe"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "ci" {
		os.Unsetenv("XDG_STATE_HOME") // each test has its own home, with a record
	}
	testscript.Main(sharing{m}, map[string]func(){"ci": main, toolName: main})
}

// sharing are tests that share the directory sharedDir, which is removed after the last.
type sharing struct{ *testing.M }

var sharedDir string

func (s sharing) Run() (code int) {
	var err error
	if sharedDir, err = os.MkdirTemp("", "ci-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(sharedDir)
	return s.M.Run()
}

// imageVariable names an image for the tests on Dagger; .ci/test sets it where it starts an engine.
const imageVariable = "OPEN_SESAME_CI_IMAGE"

// Every script has its own home, temporary directory and Nix store. The first line of a script names what it needs:
// [!nix] skip, [!emulator] skip, …
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			contract, err := filepath.Abs("opensesame/contract.toml")
			if err != nil {
				return err
			}
			for name, value := range map[string]string{
				"CONTRACT":   contract, // that the example and fixtures like it satisfy
				"HOME":       filepath.Join(env.WorkDir, "home"),
				"NIX_REMOTE": "local?root=" + filepath.Join(env.WorkDir, "store"),
				"LANG":       "C.UTF-8",
				"TESTS":      "/tmp/open-sesame-ci-test", // shared by all runs, whose temporary directories differ
				"GORACE":     "atexit_sleep_ms=0",        // else each ci waits for a second when it ends
				// A commit's hash depends on its author and time.
				"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
				"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
			} {
				env.Setenv(name, value)
			}
			for _, name := range []string{"_EXPERIMENTAL_DAGGER_RUNNER_HOST", "_EXPERIMENTAL_DAGGER_CLI_BIN", "DOCKER_HOST", imageVariable} {
				if value := os.Getenv(name); value != "" {
					env.Setenv(name, value)
				}
			}
			env.Values[serverKey{}] = new(*cachixtest.Server)
			env.Defer(func() { makeWritable(env.WorkDir) })
			return os.MkdirAll(filepath.Join(env.WorkDir, "home"), 0o755)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "nix":
				_, err := exec.LookPath("nix")
				return err == nil && os.Geteuid() == 0, nil
			case "emulator":
				return binfmt.Find("aarch64-linux") != nil && binfmt.Find("x86_64-linux") == nil, nil
			case "dagger":
				_, err := dagger.Detect(context.Background(), os.Environ())
				return err == nil && os.Getenv(imageVariable) != "", nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			if system, ok := strings.CutPrefix(name, "emulator:"); ok {
				return binfmt.Find(matrix.System(system)) != nil, nil
			}
			if variable, ok := strings.CutPrefix(name, "env:"); ok {
				return os.Getenv(variable) != "", nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "fixture": fixture, "interrupt": interrupt, "cachix": cachixServer, "keypair": keyPair, "program": program,
		},
	})
}

// makeWritable lets the test remove the read-only files of a store.
func makeWritable(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o755)
		}
		return nil
	})
}

// exits runs ci and checks its exit code: exits CODE ARGS…
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("ci", args[1:]...)
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("run ci: %v", err)
	}
	if got != want {
		ts.Fatalf("ci exits with %d, want %d", got, want)
	}
}

// fixture writes a flake of package example: fixture NAME DIR
func fixture(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[1])
	if args[0] == "flake" {
		ts.Check(example.Write(dir))
		return
	}
	ts.Check(example.WriteFixture(dir, args[0]))
}

// program writes a static program for a system, which writes its output and needs nothing: program SYSTEM FILE
func program(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), probe.ELF(matrix.System(args[0])), 0o755))
}

// interrupt sends SIGINT to a ci in the background when its log contains WORD: interrupt PIDFILE LOG WORD
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	for range 300 {
		log, _ := os.ReadFile(ts.MkAbs(args[1])) // it may not exist yet
		if strings.Contains(string(log), args[2]) {
			pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
			ts.Check(err)
			ts.Check(syscall.Kill(pid, syscall.SIGINT))
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%s never printed %q", args[1], args[2])
}
