package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/capsule"
	"github.com/scopecreep-zip/open-sesame-ci/internal/container"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// commandReplay builds again what failed elsewhere.
const commandReplay = "replay"

const replayManual = `Build again here what failed in another run, and say whether it fails in the same way.

CAPSULE is the file that a failed run leaves in OUT/capsules: the derivations that failed with all that they are made
from, settings, limits, and the ends of logs. The flake is not needed, nor is anything evaluated.

  SAME FAILURE   it fails in the same way: kind, phase and exit code
  OTHER FAILURE  it fails in another way, or something else does
  NO FAILURE     it does not fail here
  NOT BUILT      of a system: nothing of it could be built, so that nobody knows

All of them the same: exit code 0. Another end: 3. A system of which nothing could be built: 1.

Every derivation and source in a capsule is compared with its store path before anything is imported. Caches and keys
are used only where they are this program's own or on the command line as well, or with --trust.`

// replayFlags are the command line of replay.
type replayFlags struct {
	reproduceFlags
}

func newReplay(sys system) *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   commandReplay + " CAPSULE",
		Short: "Build again here what failed in another run",
		Long:  replayManual,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("%s: %d capsules given, want one", c.CommandPath(), len(args)))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), sys, args[0]) },
	}
	s := c.Flags()
	s.SortFlags = false
	s.StringArrayVar(&f.systems, "system", nil, "system to build for; repeatable (default: all of the capsule)")
	s.StringArrayVar(&f.engines, "engine", []string{"auto"}, "auto, dagger or host; or SYSTEM=URL of a native Dagger engine; repeatable")
	s.StringVar(&f.image, "image", container.DefaultImage, "Nix image: a reference pinned by digest, or an archive")
	s.StringVar(&f.builders, "builders", "", "remote builders, as in nix.conf")
	s.StringArrayVar(&f.substituters, "substituter", nil, "cache that may be used where the capsule names it; repeatable (default: the target's)")
	s.StringArrayVar(&f.keys, "trusted-key", nil, "public key that may be trusted where the capsule names it; repeatable (default: the target's)")
	s.BoolVar(&f.trust, "trust", false, "believe the capsule's caches and keys: they can replace anything that is fetched")
	s.StringVar(&f.out, "out", "replayed", "directory for the logs")
	limitVar(s, &f.timeout, timeoutFlag, 0, "the longest that the command may take, from its start to its end (default: the capsule's limit)")
	s.BoolVar(&f.json, "json", false, "the result as JSON on standard output")
	s.BoolVarP(&f.verbose, "verbose", "v", false, "each line of each build")
	return c
}

func (f *replayFlags) run(ctx context.Context, sys system, file string) error {
	dir, err := os.MkdirTemp(environment(sys.environ).get("TMPDIR"), "open-sesame-ci-")
	if err != nil {
		return fmt.Errorf("make working directory: %v", err)
	}
	defer os.RemoveAll(dir)
	c, err := capsule.Unpack(ctx, file, dir)
	if err != nil {
		return err
	}
	o, err := f.replayOptions(&c.Capsule)
	if err != nil {
		return err
	}
	if f.timeout == 0 {
		var cancel context.CancelFunc
		ctx, cancel = pipelines.WithTimeout(ctx, o.timeout, timeoutFlag)
		defer cancel()
	}
	shown := o
	shown.json = false // the result is on standard output, not the events
	reporter := newReporter(sys, shown)
	r, cleanup, err := prepare(ctx, sys, commandReplay, o, reporter)
	if err != nil {
		return errors.Join(err, reporter.Close())
	}
	defer cleanup()
	results, err := r.Replay(ctx, replaying(c, o.cells))
	err = errors.Join(err, reporter.Close())
	report := newReplayReport(file, &c.Capsule, results)
	show := report.print
	if f.json {
		show = func(w io.Writer) error { return writeJSON(w, report) }
	}
	return errors.Join(err, show(sys.stdout), report.err())
}

// replayOptions makes of a capsule the command line that would build the same.
func (f *replayFlags) replayOptions(c *capsule.Capsule) (o options, err error) {
	o = options{
		target: openSesame, json: f.json, verbose: f.verbose, jobs: jobsOf(c.Limits.Jobs), out: f.out,
		timeout: f.timeout, stall: 5 * time.Minute,
	}
	if o.timeout == 0 {
		o.timeout = time.Duration(c.Limits.TimeoutSeconds * float64(time.Second))
	}
	o.target.memlock = c.Limits.Memlock
	o.target.flake = "capsule of run " + nix.FirstLine(nix.PlainText(c.Run))
	for _, cell := range c.Cells {
		if len(f.systems) == 0 || slices.Contains(f.systems, string(cell.System)) {
			var packages []matrix.Package
			for _, p := range cell.Packages {
				packages = append(packages, p.Package)
			}
			o.cells = append(o.cells, matrix.Cell{System: cell.System, Packages: packages})
		}
	}
	if len(o.cells) == 0 {
		return o, usage(fmt.Errorf("parse --system %s: nothing of it has failed in the capsule", strings.Join(f.systems, " ")))
	}
	if err := errors.Join(f.parseEngines(&o), f.parseBuilders(&o)); err != nil {
		return o, usage(err)
	}
	if o.image, err = container.ParseImage(f.image); err != nil {
		return o, usage(err)
	}
	return o, f.trustedOf("capsule", c.Settings, openSesame, &o)
}

// replaying is what of a capsule is built.
func replaying(c *capsule.Unpacked, cells []matrix.Cell) []pipelines.Replaying {
	var all []pipelines.Replaying
	for _, cell := range c.Cells {
		if !slices.ContainsFunc(cells, func(wanted matrix.Cell) bool { return wanted.System == cell.System }) {
			continue
		}
		name := filepath.FromSlash(cell.Export)
		all = append(all, pipelines.Replaying{
			System: cell.System, Packages: cell.Packages, Dir: filepath.Dir(filepath.Join(c.Dir, name)), Export: filepath.Base(name),
			Again: slices.ContainsFunc(cell.Failures, func(f capsule.Failure) bool { return f.Kind == pipelines.NotReproducible }),
		})
	}
	return all
}
