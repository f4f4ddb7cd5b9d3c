// Package enginetest tests that an executor keeps the contract of [engine.Executor]. All executors pass the same checks.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// canary is a variable that Test sets in this process before it opens an executor. No command may see it.
const canary = "SECRET_CANARY"

// Settings are the settings of an executor under test: no substituters, and the new commands.
var Settings = nix.Settings{"experimental-features": "nix-command flakes", "substituters": ""}

// checkTimeout is the limit for one check. The slowest checks emulate a builder.
const checkTimeout = 3 * time.Minute

// Test checks an executor. Open returns a new one for the system, with [Settings], or skips the test with a reason. A check
// that this machine cannot run is skipped with a reason.
func Test(t *testing.T, open func(t *testing.T, system matrix.System) engine.Executor) {
	t.Setenv(canary, "do-not-leak")
	x := open(t, matrix.X8664Linux)
	e := subject{Executor: x}
	var err error
	if e.engine, err = x.Describe(t.Context()); err != nil {
		t.Fatalf("Describe: %v", err)
	}
	if e.engine.Native != matrix.X8664Linux {
		e.Executor = open(t, e.engine.Native)
		t.Cleanup(func() { _ = x.Close() })
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Logf("engine: %+v", e.engine)
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			if slices.Contains(waiting, c.name) {
				t.Parallel()
			}
			e := e
			e.dir, e.log = t.TempDir(), t.Logf
			e.open = func(s matrix.System) engine.Executor { return open(t, s) }
			ctx, cancel := context.WithTimeout(t.Context(), checkTimeout)
			defer cancel()
			var skip skipped
			switch err := c.run(ctx, e); {
			case errors.As(err, &skip):
				t.Skip(skip)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

// subject is the executor under test, with the tools of a check.
type subject struct {
	engine.Executor
	engine engine.Engine
	dir    string                              // an empty directory for the check
	open   func(matrix.System) engine.Executor // another executor
	log    func(format string, args ...any)
}

// checks return errors and do not use *testing.T, so that a test can verify that they find faults.
var checks = []struct {
	name string
	run  func(context.Context, subject) error
}{
	{"Describe", describe},
	{"Stdout", stdout},
	{"StdoutIsStreamed", stdoutIsStreamed},
	{"BusyBuildDir", busyBuildDir},
	{"StderrIsLive", stderrIsLive},
	{"StderrIsWhole", stderrIsWhole},
	{"StderrDoesNotMix", stderrDoesNotMix},
	{"ExitCodes", exitCodes},
	{"UnknownProgram", unknownProgram},
	{"Settings", settings},
	{"Environment", environment},
	{"AddPathKeepsTree", addPathKeepsTree},
	{"AddPathTwice", addPathTwice},
	{"AddPathForFlake", addPathForFlake},
	{"BuildNative", buildNative},
	{"BuildForeign", buildForeign},
	{"Keep", keep},
	{"Export", export},
	{"ExportToFailingWriter", exportToFailingWriter},
	{"Cancel", cancel},
	{"Deadline", deadline},
	{"CloseLeavesNoChild", closeLeavesNoChild},
}

// waiting are checks that mostly wait. They run at the same time, after all others.
var waiting = []string{"StderrIsLive", "Cancel", "Deadline"}

// skipped is the reason why a check cannot run.
type skipped string

func (s skipped) Error() string { return string(s) }

// sh returns a command of the shell, which every engine has in addition to Nix.
func sh(script string, args ...string) engine.Command {
	return engine.Command{Program: "bash", Args: append([]string{"-c", script, "sh"}, args...)}
}

func nixCommand(args ...string) engine.Command {
	return engine.Command{Program: "nix", Args: args}
}

// output runs a command that must succeed.
func (s subject) output(ctx context.Context, c engine.Command) (string, error) {
	out, err := s.Run(ctx, c)
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%w\n%s", err, exit.Stderr)
	}
	return string(out), err
}

func describe(ctx context.Context, s subject) error {
	e, err := s.Describe(ctx)
	if err != nil {
		return err
	}
	out, err := s.output(ctx, nixCommand("--version"))
	if err != nil {
		return err
	}
	switch version, err := nix.ParseVersion(out); {
	case err != nil:
		return err
	case e.Kind == "":
		return errors.New("no kind")
	case e.Nix != version:
		return fmt.Errorf("described as Nix %s, but nix --version prints %s", e.Nix.Text, version.Text)
	case e.Cores < 1:
		return fmt.Errorf("%d cores", e.Cores)
	case e.Emulator != "":
		return fmt.Errorf("emulator %q for the native system", e.Emulator)
	}
	_, err = matrix.ParseSystem(string(e.Native))
	return err
}

// settings checks that Nix gets the settings of the executor and of the command, and that the latter take precedence.
func settings(ctx context.Context, s subject) error {
	c := nixCommand("show-config")
	if s.engine.Nix.AtLeast(2, 20) {
		c = nixCommand("config", "show")
	}
	c.Settings = nix.Settings{"cores": "7", "substituters": "https://cache.example.org"}
	out, err := s.output(ctx, c)
	if err != nil {
		return err
	}
	for _, want := range []string{"cores = 7\n", "substituters = https://cache.example.org\n"} {
		if !strings.Contains(out, want) {
			return fmt.Errorf("configuration of Nix lacks %q", want)
		}
	}
	return nil
}

// environment checks that an expression and a shell see no variables of this process.
func environment(ctx context.Context, s subject) error {
	if os.Getenv(canary) == "" {
		return fmt.Errorf("%s is not set: the check cannot find a leak", canary)
	}
	seen := nixCommand("eval", "--impure", "--json", "--expr", fmt.Sprintf("builtins.getEnv %q", canary))
	seen.Settings = nix.Settings{"restrict-eval": "false"} // restrict-eval hides all variables
	out, err := s.output(ctx, seen)
	if err != nil {
		return err
	}
	if strings.TrimSpace(out) != `""` {
		return fmt.Errorf("an expression sees %s", canary)
	}
	out, err = s.output(ctx, sh("env; tr '\\0' '\\n' </proc/self/environ"))
	if err == nil && strings.Contains(out, canary) {
		err = fmt.Errorf("the shell sees %s", canary)
	}
	if err != nil {
		return err
	}
	return noSearchPathAndNoHome(ctx, s)
}

// noSearchPathAndNoHome checks that Nix gets no search path, and not the home of the user.
func noSearchPathAndNoHome(ctx context.Context, s subject) error {
	out, err := s.output(ctx, nixCommand("eval", "--impure", "--json", "--expr", "builtins.nixPath"))
	if err != nil {
		return err
	}
	if strings.TrimSpace(out) != "[]" {
		return fmt.Errorf("the search path is %s", strings.TrimSpace(out))
	}
	if out, err = s.output(ctx, sh(`printf %s "$HOME"`)); err != nil {
		return err
	}
	if home := os.Getenv("HOME"); out == home && s.engine.Kind == "host" {
		return fmt.Errorf("the home is the user's own, %s", home)
	}
	return nil
}
