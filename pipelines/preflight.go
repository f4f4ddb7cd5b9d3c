package pipelines

import (
	"context"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Engines opens an executor for a system. It is called once a cell, by several goroutines at a time.
type Engines interface {
	Open(ctx context.Context, system matrix.System) (engine.Executor, error)
}

// snapshot takes the tree that the run is about.
func (r *Release) snapshot(ctx context.Context) (s run.Snapshot, err error) {
	err = r.Step(ctx, run.StepSnapshot, "", func() (string, error) {
		if s, err = r.Source.Snapshot(ctx); err != nil {
			return "", err
		}
		s.Overrides = r.overridden()
		return withoutResults(s), nil
	})
	if err == nil && s.Dirty {
		r.Event(run.Notice{Level: run.Warning, Text: "the tree has uncommitted changes: what is built is not what consumers get, and is never published"})
	}
	return s, err
}

// withoutResults says what the tree is of, and which of its directories it leaves out.
func withoutResults(s run.Snapshot) string {
	if len(s.LeftOut) == 0 {
		return s.URL
	}
	return fmt.Sprintf("%s, without the results in %s", s.URL, strings.Join(s.LeftOut, ", "))
}

func (r *Release) overridden() map[string]string {
	if len(r.Overrides) == 0 {
		return nil
	}
	m := map[string]string{}
	for _, o := range r.Overrides {
		m[o.Input] = o.Ref
	}
	return m
}

// preflight opens the cell's engine and refuses whatever can be refused before anything is built.
func (r *Release) preflight(ctx context.Context, cell matrix.Cell) (x engine.Executor, e engine.Engine, err error) {
	err = r.Step(ctx, run.StepPreflight, cell.System, func() (string, error) {
		if x, err = r.Engines.Open(ctx, cell.System); err != nil {
			return "", err
		}
		if e, err = x.Describe(ctx); err == nil {
			err = r.refuse(e, cell)
		}
		if err != nil {
			_ = x.Close() // the first error is the one that matters
			return "", err
		}
		return describe(e, cell), nil
	})
	for _, note := range e.Notes {
		r.Event(run.Notice{System: cell.System, Level: run.Warning, Text: note})
	}
	return x, e, err
}

// refuse returns why the cell could not be built on the engine, if that is known by now.
func (r *Release) refuse(e engine.Engine, cell matrix.Cell) error {
	if e.Refused != nil {
		return e.Refused
	}
	builders := r.buildersFor(e, cell.System)
	if r.buildersAlone() && len(builders) == 0 {
		return noBuilderFor(cell.System)
	}
	if !e.Runs(cell.System) && len(builders) == 0 {
		return hint.Wrap(fmt.Errorf("build for %s on %s: no emulator is registered with the kernel", cell.System, e.Native),
			"install QEMU and its binfmt entry: apt-get install qemu-user-static binfmt-support; or leave the system out: --system %s", e.Native)
	}
	if len(e.Ignored) > 0 {
		return hint.Wrap(fmt.Errorf("use substituters %s: the Nix daemon does not trust this user and would ignore them", strings.Join(e.Ignored, ", ")),
			"add them to trusted-substituters, or the user to trusted-users, in /etc/nix/nix.conf, and restart nix-daemon")
	}
	if e.FreeBytes > 0 && e.FreeBytes < leastFree {
		return fmt.Errorf("build on %s: %d MiB free on the store's disk, want %d", e.Kind, e.FreeBytes>>20, leastFree>>20)
	}
	return nil
}

// leastFree is the space below which Nix's own database and logs are at risk.
const leastFree = 64 << 20

// emulated reports whether the builders run under an emulator.
func (r *Release) emulated(e engine.Engine, cell matrix.Cell) bool {
	return e.Native != cell.System && e.Emulator != ""
}

func describe(e engine.Engine, cell matrix.Cell) string {
	text := e.Kind
	if e.Version != "" {
		text += " " + e.Version
	}
	text += ", Nix " + e.Nix.Text
	if e.Native != cell.System {
		switch e.Emulator {
		case "binfmt":
			text += ", builders emulated"
		case "container":
			text += ", container emulated"
		}
	}
	return text
}
