package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/capsule"
	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/container"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
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

All of them the same: exit code 0. Another end: 3. What could not be built at all: 1.

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
	s.DurationVar(&f.timeout, "timeout", 0, "the longest that one system may take (default: the capsule's limit)")
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
	shown := o
	shown.json = false // the result is on standard output, not the events
	reporter := newReporter(sys, shown)
	r, cleanup, err := prepare(ctx, sys, commandReplay, o, reporter)
	if err != nil {
		return errors.Join(err, reporter.Close())
	}
	defer cleanup()
	results, err := r.Replay(ctx, replaying(c, o.cells))
	if err = errors.Join(err, reporter.Close()); err != nil {
		return err
	}
	report := newReplayReport(file, &c.Capsule, results)
	if f.json {
		err = writeJSON(sys.stdout, report)
	} else {
		err = report.print(sys.stdout)
	}
	return errors.Join(err, report.err())
}

// replayOptions makes of a capsule the command line that would build the same.
func (f *replayFlags) replayOptions(c *capsule.Capsule) (o options, err error) {
	o = options{
		target: openSesame, json: f.json, verbose: f.verbose, builders: f.builders, jobs: c.Limits.Jobs, out: f.out,
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
	if err := f.parseEngines(&o); err != nil {
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

// replayReport is what came of a capsule. It is what --json prints.
type replayReport struct {
	Capsule  string            `json:"capsule"`
	Same     bool              `json:"same"`
	Failures []replayedFailure `json:"failures"`
	// Conditions are those under which it failed there and was built here, as far as they differ.
	Conditions []compare.Field `json:"conditions,omitempty"`
}

type replayedFailure struct {
	System     matrix.System `json:"system"`
	Derivation nix.StorePath `json:"derivation"`
	Verdict    string        `json:"verdict"`
	There      string        `json:"there,omitempty"`
	Here       string        `json:"here,omitempty"`
}

// The verdicts of a replay.
const (
	sameFailure  = "SAME FAILURE"
	otherFailure = "OTHER FAILURE"
	noFailure    = "NO FAILURE"
)

func newReplayReport(file string, c *capsule.Capsule, results []pipelines.Replayed) *replayReport {
	r := &replayReport{Capsule: file, Same: true}
	for _, result := range results {
		i := slices.IndexFunc(c.Cells, func(cell capsule.Cell) bool { return cell.System == result.System })
		r.add(c.Cells[i], result)
	}
	return r
}

// add compares each failure of a system with what it came to here, and adds those that are new.
func (r *replayReport) add(cell capsule.Cell, result pipelines.Replayed) {
	seen := map[nix.StorePath]bool{}
	for _, f := range cell.Failures {
		seen[f.Derivation] = true
		found := replayedFailure{System: cell.System, Derivation: f.Derivation, Verdict: noFailure, There: f.Ending()}
		if here := result.Failures[f.Derivation]; here != nil {
			found.Here, found.Verdict = here.Ending(), otherFailure
			if found.Here == found.There {
				found.Verdict = sameFailure
			}
		}
		r.Failures = append(r.Failures, found)
	}
	for _, drv := range slices.Sorted(maps.Keys(result.Failures)) {
		if !seen[drv] {
			r.Failures = append(r.Failures, replayedFailure{
				System: cell.System, Derivation: drv, Verdict: otherFailure, Here: result.Failures[drv].Ending(),
			})
		}
	}
	for _, f := range r.Failures {
		r.Same = r.Same && f.Verdict == sameFailure
	}
	r.addConditions(cell, result)
}

func (r *replayReport) addConditions(there capsule.Cell, here pipelines.Replayed) {
	add := func(name string, x, y any) {
		if p, q := fmt.Sprint(x), fmt.Sprint(y); p != q {
			r.Conditions = append(r.Conditions, compare.Field{Name: string(there.System) + " " + name, A: p, B: q})
		}
	}
	if a, b := there.Engine, here.Engine; a != nil && b != nil {
		add("engine", a.Kind+" "+a.Version, b.Kind+" "+b.Version)
		add("Nix", a.Nix.Text, b.Nix.Text)
		add("image", a.Image, b.Image)
		add("machine", a.Native, b.Native)
		add("kernel", a.Kernel, b.Kernel)
		add("emulator", a.Emulator+" "+a.EmulatorVersion, b.Emulator+" "+b.EmulatorVersion)
		add("processors", a.Cores, b.Cores)
	}
	if there.Sandbox != nil && here.Sandbox != nil {
		add("sandbox", *there.Sandbox, *here.Sandbox)
	}
	if there.Memlock != nil && here.Memlock != nil {
		add("memory to lock", *there.Memlock, *here.Memlock)
	}
}

func (r *replayReport) print(w io.Writer) error {
	var text strings.Builder
	for _, f := range r.Failures {
		fmt.Fprintf(&text, "%-13s  %s  %s\n", f.Verdict, f.System, f.Derivation)
		if f.Verdict == sameFailure {
			fmt.Fprintf(&text, "  %s\n", f.Here)
			continue
		}
		for _, side := range [][2]string{{"there", f.There}, {"here", f.Here}} {
			if side[1] != "" {
				fmt.Fprintf(&text, "  %-6s %s\n", side[0]+":", nix.FirstLine(nix.PlainText(side[1])))
			}
		}
	}
	if len(r.Conditions) > 0 {
		fmt.Fprintln(&text, "other conditions than there:")
	}
	for _, c := range r.Conditions {
		fmt.Fprintf(&text, "  %-28s there: %s\n  %-28s here:  %s\n", c.Name, cmp.Or(nix.FirstLine(nix.PlainText(c.A)), "-"), "", cmp.Or(c.B, "-"))
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// replayError says that something did not fail in the same way. It is a result, and no failure of this program.
type replayError struct {
	capsule   string
	other, of int
}

func (e *replayError) Error() string {
	return fmt.Sprintf("replay %s: %d of %d failures are not the same here", e.capsule, e.other, e.of)
}

// Outcome of two machines on which not the same happens.
func (e *replayError) Outcome() pipelines.Outcome { return pipelines.OutcomeDifferent }

func (r *replayReport) err() error {
	if r.Same {
		return nil
	}
	e := &replayError{capsule: r.Capsule, of: len(r.Failures)}
	for _, f := range r.Failures {
		if f.Verdict != sameFailure {
			e.other++
		}
	}
	return hint.Wrap(e, "look at what differs between the machines; the ends of the logs are in the capsule: tar --zstd -tf %s", quote(r.Capsule))
}
