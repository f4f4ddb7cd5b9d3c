package setup

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Finding is the result for one part of the machine.
type Finding struct {
	Part  Part
	OK    bool
	Found string
	Fix   string // a command; empty if there is none
}

// Part is a part of the machine that a release needs.
type Part string

// The parts of a machine.
const (
	Git      Part = "git"
	Nix      Part = "nix"
	Emulator Part = "emulation"
	Dagger   Part = "container engine"
)

// Examine examines all parts. Fixed is whether [Machine.SetUp] ran before.
func (m Machine) Examine(ctx context.Context, access host.Access, fixed bool) []Finding {
	ofNix := m.examineNix(ctx, access)
	emulator := m.examineEmulator(ctx, foreignCheck{access: access, nix: ofNix.OK, tried: fixed})
	return []Finding{m.examineGit(ctx, access), ofNix, emulator, m.examineDagger(ctx)}
}

func (m Machine) examineGit(ctx context.Context, access host.Access) Finding {
	f := m.program(ctx, Git, "git")
	if !f.OK && access.Apt {
		f.Fix = access.Install("git")
	}
	return f
}

// examineNix opens this machine's Nix as a run does, with its store and its configuration.
func (m Machine) examineNix(ctx context.Context, access host.Access) Finding {
	f := m.program(ctx, Nix, "nix", "NIX_USER_CONF_FILES=") // a run does not read the user's nix.conf either
	err := m.nixProblem(ctx, access)
	if err != nil && f.OK {
		f.OK, f.Found = false, f.Found+", but it does not work: "+err.Error()
	}
	f.Fix = strings.Join(hint.Of(err), "; ")
	return f
}

// nixProblem returns why a run cannot use this machine's Nix, or nil.
func (m Machine) nixProblem(ctx context.Context, access host.Access) error {
	if access.Nix == "" {
		return access.Problem()
	}
	native, err := NativeSystem()
	if err != nil {
		return err
	}
	_, err = host.Open(ctx, host.Options{System: native, Env: m.Environ})
	return err
}

// program looks for a program, and asks for its version.
func (m Machine) program(ctx context.Context, p Part, name string, env ...string) Finding {
	cmd := exec.CommandContext(ctx, name, "--version")
	cmd.Env = slices.Concat(m.Environ, env)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return Finding{Part: p, Found: fmt.Sprintf("run %s --version: %v: %s", name, exit, nix.ErrorMessage(string(exit.Stderr)))}
	}
	if err != nil {
		return Finding{Part: p, Found: "not found"}
	}
	return Finding{Part: p, OK: true, Found: strings.TrimSpace(string(out))}
}

func (m Machine) examineEmulator(ctx context.Context, check foreignCheck) Finding {
	native, err := NativeSystem()
	if err != nil {
		return Finding{Part: Emulator, Found: err.Error()}
	}
	f := Finding{Part: Emulator, OK: true}
	var found, fixes []string
	for _, s := range m.Systems {
		if s == native {
			continue
		}
		switch err := m.foreignProblem(ctx, check, s); {
		case err != nil:
			f.OK = false
			found = append(found, err.Error())
			if fix := strings.Join(hint.Of(err), "; "); !slices.Contains(fixes, fix) {
				fixes = append(fixes, fix) // one package has all emulators
			}
		case s.RunsOn(native):
			found = append(found, s.Machine()+" by the processor itself")
		default:
			found = append(found, fmt.Sprintf("%s by %s", s.Machine(), binfmt.Find(s).Interpreter))
		}
	}
	f.Found, f.Fix = strings.Join(found, ", "), strings.Join(fixes, "; ")
	return f
}

// NativeSystem returns the system of this machine's processor.
func NativeSystem() (matrix.System, error) {
	return matrix.ParseSystem(map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + "-linux")
}

func (m Machine) examineDagger(ctx context.Context) Finding {
	found, err := dagger.Detect(ctx, m.Environ)
	if err != nil {
		return Finding{Part: Dagger, Found: err.Error(), Fix: strings.Join(hint.Of(err), "; ")}
	}
	return Finding{Part: Dagger, OK: true, Found: found}
}

// Ready says on which engines a release of all systems can run; empty if [CannotRun] has a reason.
func Ready(findings []Finding) string {
	ok := okParts(findings)
	switch host := ok[Nix] && ok[Emulator]; {
	case CannotRun(findings) != "":
		return ""
	case host && ok[Dagger]:
		return "ready for host and dagger"
	case host:
		return "ready for host; the container engine is optional"
	}
	return "ready for dagger"
}

func okParts(findings []Finding) map[Part]bool {
	ok := map[Part]bool{}
	for _, f := range findings {
		ok[f.Part] = f.OK
	}
	return ok
}

// CannotRun returns why a release of all systems could not run here; empty if it could.
func CannotRun(findings []Finding) string {
	ok := okParts(findings)
	switch {
	case !ok[Git]:
		return "run a release: git is missing"
	case !ok[Nix] && !ok[Dagger]:
		return "run a release: neither a Nix that works nor a container engine is here"
	case !ok[Emulator] && !ok[Dagger]:
		return "run a release: this machine cannot build for all systems"
	}
	return ""
}
