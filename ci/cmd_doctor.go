package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func newDoctor(sys process) *cobra.Command {
	var fix bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Show what is installed, what is missing, and how to fix it; exit 1 if a release cannot run",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runDoctor(c.Context(), sys, fix)
		},
	}
	c.Flags().BoolVar(&fix, "fix", false, "install what is missing, from the system's packages (as root)")
	return c
}

func runDoctor(ctx context.Context, sys process, fix bool) error {
	if fix {
		if err := setUp(ctx, sys); err != nil {
			return err
		}
	}
	access := host.InspectAccess(sys.environ)
	findings := examine(ctx, sys, access, fix)
	if err := printFindings(sys.stdout, findings); err != nil {
		return err
	}
	reason := cannotRun(findings)
	if reason == "" {
		return nil
	}
	err := errors.New(reason)
	if access.Root && access.Apt && !fix {
		return hint.Wrap(err, "go run ./ci doctor --fix")
	}
	return err
}

// finding is what the doctor says of one thing.
type finding struct {
	part  part
	ok    bool
	found string
	fix   string // a command; empty where there is none
}

// part names what is looked at.
type part string

const (
	partGit      part = "git"
	partNix      part = "nix"
	partEmulator part = "emulation"
	partDagger   part = "container engine"
)

func examine(ctx context.Context, sys process, access host.Access, fixed bool) []finding {
	ofNix := examineNix(ctx, sys, access)
	emulator := examineEmulator(ctx, sys, foreignCheck{access: access, nix: ofNix.ok, tried: fixed})
	return []finding{examineGit(ctx, access), ofNix, emulator, examineDagger(ctx, sys)}
}

func examineGit(ctx context.Context, access host.Access) finding {
	f := program(ctx, partGit, "git")
	if !f.ok && access.Apt {
		f.fix = access.Install("git")
	}
	return f
}

// examineNix opens this machine's Nix as a run does: its version, its store and its configuration.
func examineNix(ctx context.Context, sys process, access host.Access) finding {
	f := program(ctx, partNix, "nix", "NIX_USER_CONF_FILES=") // a run reads no user's nix.conf either
	err := nixProblem(ctx, sys, access)
	switch {
	case err == nil:
		return f
	case f.ok:
		f.ok, f.found = false, f.found+", but it does not work: "+err.Error()
	}
	f.fix = strings.Join(hint.Of(err), "; ")
	return f
}

// nixProblem returns why a run cannot use this machine's Nix, or nil.
func nixProblem(ctx context.Context, sys process, access host.Access) error {
	if access.Nix == "" {
		return access.Problem()
	}
	native, err := nativeSystem(ctx)
	if err != nil {
		return err
	}
	_, err = host.Open(ctx, host.Options{System: native, Env: sys.environ})
	return err
}

// program finds out whether a program is there, and its version.
func program(ctx context.Context, p part, name string, env ...string) finding {
	cmd := exec.CommandContext(ctx, name, "--version")
	cmd.Env = append(cmd.Environ(), env...)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return finding{part: p, found: fmt.Sprintf("run %s --version: %v: %s", name, exit, nix.ErrorMessage(string(exit.Stderr)))}
	}
	if err != nil {
		return finding{part: p, found: "not found"}
	}
	return finding{part: p, ok: true, found: strings.TrimSpace(string(out))}
}

func examineEmulator(ctx context.Context, sys process, check foreignCheck) finding {
	native, err := nativeSystem(ctx)
	if err != nil {
		return finding{part: partEmulator, found: err.Error()}
	}
	f := finding{part: partEmulator, ok: true}
	for _, s := range matrix.Systems() {
		if s == native {
			continue
		}
		if err := check.problem(ctx, sys, s); err != nil {
			f.ok, f.fix = false, strings.Join(hint.Of(err), "; ")
			f.found += err.Error()
			continue
		}
		f.found += fmt.Sprintf("%s by %s", s.Machine(), binfmt.Find(s.Machine()).Interpreter)
	}
	return f
}

// nativeSystem is the one whose programs this machine's processor runs.
func nativeSystem(ctx context.Context) (matrix.System, error) {
	out, err := exec.CommandContext(ctx, "uname", "-m").Output()
	if err != nil {
		return "", fmt.Errorf("run uname: %v", err)
	}
	return matrix.ParseSystem(strings.TrimSpace(string(out)) + "-linux")
}

func examineDagger(ctx context.Context, sys process) finding {
	found, err := dagger.Detect(ctx, sys.environ)
	if err != nil {
		return finding{part: partDagger, found: err.Error(), fix: strings.Join(hint.Of(err), "; ")}
	}
	return finding{part: partDagger, ok: true, found: found}
}

// cannotRun returns why a release of all systems could not run here; empty if it could.
func cannotRun(findings []finding) string {
	ok := map[part]bool{}
	for _, f := range findings {
		ok[f.part] = f.ok
	}
	switch {
	case !ok[partGit]:
		return "run a release: git is missing"
	case !ok[partNix] && !ok[partDagger]:
		return "run a release: neither a Nix that works nor a container engine is here"
	case !ok[partEmulator] && !ok[partDagger]:
		return "run a release: this machine cannot build for all systems"
	}
	return ""
}

func printFindings(w io.Writer, findings []finding) error {
	t := newTable(w)
	for _, f := range findings {
		mark := "ok"
		if !f.ok {
			mark = "missing"
		}
		t.row(mark, f.part, f.found)
		if !f.ok && f.fix != "" {
			t.row("", "", "fix: "+f.fix)
		}
	}
	return t.Flush()
}
