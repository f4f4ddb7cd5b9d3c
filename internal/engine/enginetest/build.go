package enginetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/probe"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func buildNative(ctx context.Context, s subject) error {
	return s.buildProbe(ctx, s.engine.Native)
}

// buildForeign builds for the other default system, and for a 32-bit system and a third processor where the machine runs
// their programs.
func buildForeign(ctx context.Context, s subject) error {
	for _, system := range append([]matrix.System{"i686-linux", "riscv64-linux"}, matrix.DefaultSystems()...) {
		if system == s.engine.Native {
			continue
		}
		x := s.open(system)
		defer x.Close()
		e, err := x.Describe(ctx)
		if err != nil {
			return err
		}
		if !e.Runs(system) {
			if !slices.Contains(matrix.DefaultSystems(), system) {
				continue
			}
			return skipped(fmt.Sprintf("nothing on this engine emulates %s: apt-get install qemu-user-static binfmt-support", system))
		}
		if e.Refused != nil {
			return skipped(e.Refused.Error())
		}
		s.Executor = x
		if err := s.buildProbe(ctx, system); err != nil {
			return err
		}
	}
	return nil
}

// buildProbe builds the probe as a release does: in a sandbox or, if there is none, outside.
func (s subject) buildProbe(ctx context.Context, system matrix.System) error {
	report, err := s.probe(ctx, system, nix.Settings{"sandbox": "true", "sandbox-fallback": "false"}, true)
	if err != nil {
		s.log("no sandbox: %v", err)
		report, err = s.probe(ctx, system, nix.Settings{"sandbox": "false", "filter-syscalls": "false"}, false)
	}
	if err != nil {
		return err
	}
	s.log("probe: %+v, sandboxed: %t", report, report.Sandboxed())
	if report.Machine != system.Machine() {
		return fmt.Errorf("the builder's machine is %s, want %s", report.Machine, system.Machine())
	}
	return nil
}

func (s subject) probe(ctx context.Context, system matrix.System, settings nix.Settings, privileged bool) (probe.Report, error) {
	if err := os.WriteFile(filepath.Join(s.dir, "probe"), probe.ELF(system), 0o755); err != nil {
		return probe.Report{}, err
	}
	added, err := s.AddPath(ctx, s.dir)
	if err != nil {
		return probe.Report{}, err
	}
	out, err := s.output(ctx, engine.Command{
		Program: "nix-build", Args: []string{"--no-out-link", "-E", probe.Expression(system, added+"/probe", rand.Text())},
		Settings: settings.With(nix.Settings{"restrict-eval": "false"}), Privileged: privileged, // as the probe of a run
	})
	if err != nil {
		return probe.Report{}, err
	}
	data, err := s.output(ctx, nixCommand("store", "cat", strings.TrimSpace(out)))
	if err != nil {
		return probe.Report{}, err
	}
	return probe.Parse([]byte(data))
}

func export(ctx context.Context, s subject) error {
	// Two paths, the second of which refers to the first.
	text := rand.Text()
	expression := fmt.Sprintf(`let a = builtins.toFile "a" %q; in { inherit a; b = builtins.toFile "b" "see ${a}"; }`, text)
	var paths []nix.StorePath
	for _, name := range []string{"b", "a"} {
		out, err := s.output(ctx, engine.Command{
			Program: "nix-instantiate", Args: []string{"--eval", "--read-write-mode", "-A", name, "-E", expression},
		})
		if err != nil {
			return err
		}
		path, err := nix.ParseStorePath(strings.Trim(strings.TrimSpace(out), `"`))
		if err != nil {
			return err
		}
		paths = append(paths, path)
	}
	var stream bytes.Buffer
	if err := s.Export(ctx, &stream, paths); err != nil {
		return err
	}
	found, err := exported(&stream)
	if err != nil {
		return err
	}
	b, a := paths[0], paths[1]
	if !slices.Equal(found, []nix.StorePath{a, b}) {
		return fmt.Errorf("exported are %v, want %v: references before referrers", found, []nix.StorePath{a, b})
	}
	// Export fails for a path that is not in the store and cannot be built.
	absent := nix.StorePath("/nix/store/" + strings.Repeat("0", 32) + "-absent")
	if err := s.Export(ctx, &stream, []nix.StorePath{absent}); err == nil {
		return errors.New("export of a missing path: no error")
	}
	return nil
}

// exportToFailingWriter checks that the export ends when its writer fails.
func exportToFailingWriter(ctx context.Context, s subject) error {
	full := errors.New("no space left")
	out, err := s.output(ctx, nixCommand("eval", "--raw", "--expr", fmt.Sprintf(`builtins.toFile "a" %q`, rand.Text())))
	if err != nil {
		return err
	}
	path, err := nix.ParseStorePath(out)
	if err != nil {
		return err
	}
	if err := s.Export(ctx, failingWriter{full}, []nix.StorePath{path}); err == nil {
		return errors.New("export to a writer that fails: no error")
	}
	return nil
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// exported returns the paths of an export stream in their order.
func exported(stream io.Reader) (paths []nix.StorePath, err error) {
	skip := func(*nar.Reader) error { return nil }
	err = nar.ReadExport(stream, skip, func(o nar.Object) error {
		paths = append(paths, o.Path)
		return nil
	})
	return paths, err
}
