package enginetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// fake is a correct executor with one fault.
type fake struct {
	engine.Executor
	describe func(engine.Engine) engine.Engine
	addPath  func(dir string) (string, error)
	run      func(context.Context, engine.Executor, engine.Command) ([]byte, error)
	export   func(context.Context, engine.Executor, io.Writer, []nix.StorePath) error
	keep     func([]nix.StorePath) error
	close    func() error
}

func (f fake) Describe(ctx context.Context) (engine.Engine, error) {
	e, err := f.Executor.Describe(ctx)
	if f.describe != nil {
		e = f.describe(e)
	}
	return e, err
}

func (f fake) AddPath(ctx context.Context, dir string) (string, error) {
	if f.addPath != nil {
		return f.addPath(dir)
	}
	return f.Executor.AddPath(ctx, dir)
}

func (f fake) Run(ctx context.Context, c engine.Command) ([]byte, error) {
	if f.run != nil {
		return f.run(ctx, f.Executor, c)
	}
	return f.Executor.Run(ctx, c)
}

func (f fake) Export(ctx context.Context, w io.Writer, paths []nix.StorePath) error {
	if f.export != nil {
		return f.export(ctx, f.Executor, w, paths)
	}
	return f.Executor.Export(ctx, w, paths)
}

func (f fake) Keep(ctx context.Context, paths []nix.StorePath) error {
	if f.keep != nil {
		return f.keep(paths)
	}
	return f.Executor.Keep(ctx, paths)
}

func (f fake) Close() error {
	if f.close != nil {
		return f.close()
	}
	return f.Executor.Close()
}

// withStderr runs a command, and changes its error output after its end.
func withStderr(ctx context.Context, x engine.Executor, c engine.Command, change func([]byte) []byte) ([]byte, error) {
	var held bytes.Buffer
	w := c.Stderr
	c.Stderr = &held
	out, err := x.Run(ctx, c)
	if w != nil {
		_, _ = w.Write(change(held.Bytes()))
	}
	return out, err
}

// TestChecksFindFaults runs the checks on executors that break the contract, each in one way.
func TestChecksFindFaults(t *testing.T) {
	nixtest.Need(t)
	t.Setenv(canary, "do-not-leak")
	good, err := host.Open(t.Context(), host.Options{System: matrix.X8664Linux, Settings: Settings, Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		fault string
		found []string // the checks that must fail
		fake  fake
	}{
		{fault: "none"},
		{"no cores", []string{"Describe"}, fake{describe: func(e engine.Engine) engine.Engine { e.Cores = 0; return e }}},
		{"stdout in memory", []string{"StdoutIsStreamed"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				c.Stdout = nil
				return x.Run(ctx, c)
			},
		}},
		{"the same build directory again", []string{"BusyBuildDir"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				c.BusyBuildDir = false
				return x.Run(ctx, c)
			},
		}},
		{"stderr only at the end", []string{"StderrIsLive"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				return withStderr(ctx, x, c, func(b []byte) []byte { return b })
			},
		}},
		{"stderr without its last byte", []string{"StderrIsWhole", "StderrDoesNotMix"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				return withStderr(ctx, x, c, func(b []byte) []byte { return b[:max(0, len(b)-1)] })
			},
		}},
		{"stderr as text", []string{"StderrIsWhole"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				return withStderr(ctx, x, c, func(b []byte) []byte { return bytes.ToValidUTF8(b, []byte("?")) })
			},
		}},
		{"one exit code for all", []string{"ExitCodes"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				out, err := x.Run(ctx, c)
				if exit := (*engine.ExitError)(nil); errors.As(err, &exit) {
					exit.Code = 1
				}
				return out, err
			},
		}},
		{"a missing program is reported as a failed one", []string{"UnknownProgram"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				out, err := x.Run(ctx, c)
				if exit := (*engine.ExitError)(nil); err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
					err = &engine.ExitError{Program: c.Program, Code: 127}
				}
				return out, err
			},
		}},
		{"no settings of a command", []string{"Settings"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				c.Settings = nil
				return x.Run(ctx, c)
			},
		}},
		{"the environment of this process", []string{"Environment"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				c.Args = append([]string{canary + "=leaked", c.Program}, c.Args...)
				c.Program = "env"
				return x.Run(ctx, c)
			},
		}},
		{"a search path", []string{"Environment"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				c.Args = append([]string{"NIX_PATH=nixpkgs=/nowhere", c.Program}, c.Args...)
				c.Program = "env"
				return x.Run(ctx, c)
			},
		}},
		{"the user's home", []string{"Environment"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				c.Args = append([]string{"HOME=" + os.Getenv("HOME"), c.Program}, c.Args...)
				c.Program = "env"
				return x.Run(ctx, c)
			},
		}},
		{"new modification times", []string{"AddPathKeepsTree", "AddPathForFlake"}, fake{
			addPath: func(dir string) (string, error) {
				added, err := os.MkdirTemp(t.TempDir(), "added")
				if err != nil {
					return "", err
				}
				added = filepath.Join(added, "tree")
				return added, exec.Command("cp", "-r", "--no-preserve=timestamps", dir, added).Run()
			},
		}},
		{"an empty export", []string{"Export", "ExportToFailingWriter"}, fake{
			export: func(context.Context, engine.Executor, io.Writer, []nix.StorePath) error { return nil },
		}},
		{"Keep does nothing", []string{"Keep"}, fake{keep: func([]nix.StorePath) error { return nil }}},
		{"paths are kept after the end", []string{"Keep"}, fake{close: func() error { return nil }}},
		{"another error when cancelled", []string{"Cancel", "Deadline"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				out, err := x.Run(ctx, c)
				if ctx.Err() != nil {
					err = errors.New("killed")
				}
				return out, err
			},
		}},
		{"a command that does not end", []string{"Cancel", "Deadline"}, fake{
			run: func(ctx context.Context, x engine.Executor, c engine.Command) ([]byte, error) {
				done := make(chan struct{})
				aside, cancel := context.WithCancel(context.WithoutCancel(ctx))
				t.Cleanup(cancel)
				var out []byte
				var err error
				go func() { out, err = x.Run(aside, c); close(done) }()
				select {
				case <-done:
					return out, err
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			},
		}},
		{"a child that does not end", []string{"CloseLeavesNoChild"}, fake{
			close: func() error {
				cmd := exec.CommandContext(t.Context(), "sleep", "60")
				t.Cleanup(func() { _ = cmd.Wait() })
				return cmd.Start()
			},
		}},
	} {
		t.Run(test.fault, func(t *testing.T) {
			// These two checks close the executor, or read all children of this process.
			if len(test.found) > 0 && test.found[0] != "Keep" && test.found[0] != "CloseLeavesNoChild" {
				t.Parallel()
			}
			test.fake.Executor = good
			failed := run(t, test.fake, test.found)
			for _, name := range test.found {
				if !failed[name] {
					t.Errorf("%s does not find the fault", name)
				}
				delete(failed, name)
			}
			if test.fault == "none" && len(failed) > 0 {
				t.Errorf("a correct executor fails %v", failed)
			}
		})
	}
}

// run runs the named checks, by default all, and returns those that failed.
func run(t *testing.T, x engine.Executor, names []string) map[string]bool {
	failed := map[string]bool{}
	described, err := x.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		wanted := len(names) == 0
		for _, name := range names {
			wanted = wanted || name == c.name
		}
		if !wanted {
			continue
		}
		s := subject{Executor: x, engine: described, dir: t.TempDir(), log: t.Logf, open: func(matrix.System) engine.Executor { return x }}
		err := c.run(t.Context(), s)
		if skip := skipped(""); err != nil && !errors.As(err, &skip) {
			t.Logf("%s: %v", c.name, err)
			failed[c.name] = true
		}
	}
	return failed
}
