package pipelines

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// secondBuild builds packages of a cell again, under different conditions: the clock, the number of processors, other
// builds, the files beside the build directory, and the machine, if there is another engine.
type secondBuild struct {
	*cell
	r     *Release
	again []*run.PackageResult
}

// run builds again, and returns the packages that differ.
func (b secondBuild) run(ctx context.Context, since time.Time) (differ []run.PackageResult, err error) {
	if slices.ContainsFunc(b.again, func(p *run.PackageResult) bool { return p.Verdict == run.Built }) {
		if err := run.Sleep(ctx, b.r.Rebuild.Apart-b.Now().Sub(since)); err != nil {
			return nil, err
		}
	}
	started := b.Now()
	second := &run.SecondBuild{Emulated: b.isEmulated(), Cores: otherCores(b.engine)}
	if engines := b.r.Rebuild.Elsewhere[b.System]; engines != nil {
		differ, err = b.onAnotherEngine(ctx, engines, second)
	} else {
		if here := b.probed.here(); here != nil {
			second.Emulated, second.Sandbox = here.Emulated, here.Sandbox
		}
		differ, err = b.onThisEngine(ctx)
	}
	second.Seconds = run.Seconds(b.Now().Sub(started))
	if err = errors.Join(err, b.r.recordSecondBuild(b.again)); err != nil {
		return nil, err
	}
	mismatches, err := b.cacheMismatches(ctx)
	if err != nil {
		return nil, err
	}
	b.result.Second = second
	return append(differ, mismatches...), nil
}

// describe returns the result in a few words.
func (b secondBuild) describe(same int) string {
	text := run.Count(same, "package") + " the same a second time"
	if on := b.result.Second.Engine; on != nil {
		text += ", on " + b.cell.describe(*on)
	}
	return text
}

// onThisEngine lets Nix build the derivations again where they were built, and compare. See nix-store --realise --check in
// the Nix manual. Nix keeps a different result beside the first, as PATH.check.
func (b secondBuild) onThisEngine(ctx context.Context) ([]run.PackageResult, error) {
	if err := b.fetch(ctx, b.again); err != nil { // what a cache has must be here to be compared
		return nil, err
	}
	return b.realiseAgain(ctx, b.cell, b.again, []string{"--check", "--keep-failed"}, nil)
}

// newLog keeps the logs of second builds in a separate directory.
func (b secondBuild) newLog() *buildlog.Log {
	config := b.logConfig()
	config.Logs = b.Logs.Sub("rebuild")
	return buildlog.New(config)
}

// realiseAgain builds packages on the engine of a cell with one command, under other conditions than the first build. It
// returns the packages that differ.
func (b secondBuild) realiseAgain(ctx context.Context, on *cell, packages []*run.PackageResult, flags []string, extra nix.Settings) ([]run.PackageResult, error) {
	log := b.newLog()
	settings := b.Settings.With(on.probed.settings()).With(nix.Settings{
		"cores": strconv.Itoa(otherCores(on.engine)), "max-jobs": "1",
		"builders":      "",      // a builder would reuse its result, and Nix would not compare
		"run-diff-hook": "false", // a program of the machine's owner
	}).With(extra)
	err := log.Run(ctx, on.exec, engine.Command{
		Program:  "nix-store",
		Args:     slices.Concat([]string{"--realise"}, flags, []string{"--keep-going", "--log-format", "internal-json"}, words(derivationsOf(packages))),
		Settings: settings, Privileged: on.probed.privileged(), BusyBuildDir: true,
	})
	log.DecideByStore(nil)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return b.setVerdicts(ctx, on, packages, log, err)
}

// otherCores returns a number of processors that the first build did not have.
func otherCores(e engine.Engine) int {
	if e.Cores == 1 {
		return 2
	}
	return max(1, e.Cores-1)
}

// setVerdicts sets the verdict of each output from Nix's log, and returns the packages that differ. A build that could not
// run, for example without memory, has no verdict and is an error.
func (b secondBuild) setVerdicts(ctx context.Context, on *cell, packages []*run.PackageResult, log *buildlog.Log, buildErr error) (failed []run.PackageResult, err error) {
	for _, p := range packages {
		f := log.Failure(p.Derivation)
		switch {
		case f == nil && (buildErr == nil || log.Built(p.Derivation)):
			setRebuild(p, run.Good)
		case f == nil: // Nix did not build it
		case f.Kind == run.NotReproducible || f.Kind == run.BuilderFailed || f.Kind == run.OutputRefused:
			p.Difference = b.difference(ctx, on, p, f)
			failed = append(failed, *p)
		default:
			err = fmt.Errorf("rebuild %s: %s: %s", p.Package, f.Kind, f.Message)
		}
	}
	switch {
	case len(failed) > 0:
		return failed, nil // a difference matters more
	case err == nil && buildErr != nil:
		err = fmt.Errorf("rebuild: %w", buildErr)
	}
	return nil, err
}

// setRebuild sets the verdict of all outputs of a package.
func setRebuild(p *run.PackageResult, verdict run.RebuildVerdict) {
	for i := range p.Outputs {
		p.Outputs[i].Rebuild = verdict
	}
}

// differs matches the message of all versions of Nix; it has the second path with --keep-failed.
var differs = regexp.MustCompile(`output '([^']+)' differs(?: from '([^']+)')?`)

// difference sets the verdict of the output that differs, and compares both. A failed second build is a difference, too.
func (b secondBuild) difference(ctx context.Context, on *cell, p *run.PackageResult, f *run.Failure) *run.Difference {
	m := differs.FindStringSubmatch(f.Message)
	if m == nil {
		setRebuild(p, run.Bad)
		return &run.Difference{Reason: "the first build succeeded, and a second one failed: " + f.Message}
	}
	path, err := logicalPath(m[1])
	if err != nil {
		return &run.Difference{Reason: f.Message}
	}
	for i, o := range p.Outputs {
		if o.Path == path {
			p.Outputs[i].Rebuild = run.Bad // Nix compares no other output then
		}
	}
	d := &run.Difference{Output: path, Reason: "a second build differs in " + string(path)}
	if m[2] != "" {
		b.compare(ctx, d, b.r.keepFrom(on, "first", path), b.r.keepFile(on, path.Base()+".second", m[2]))
	}
	return d
}

// compare compares both contents of a difference.
func (b secondBuild) compare(ctx context.Context, d *run.Difference, first, second run.KeepFunc) {
	d.Kept, d.Files, d.Page = b.CompareKept(ctx, b.r.Rebuild.Evidence, d.Output, first, second)
}
