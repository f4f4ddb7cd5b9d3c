package pipelines

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// secondBuild is what building a cell's packages again takes.
type secondBuild struct {
	r        *Release
	x        engine.Executor // of the first build
	engine   engine.Engine
	snapshot run.Snapshot
	cell     matrix.Cell
	probed   probed
	todo     []*run.PackageResult
}

// make builds again, and returns how that was done and which packages differ. The second build differs in what it may:
// the clock, the number of processors, what else is being built, what is beside the build directory, and, where there
// is another engine for the system, the machine.
func (b secondBuild) make(ctx context.Context) (*run.SecondBuild, []run.PackageResult, error) {
	started := b.r.Now()
	var second *run.SecondBuild
	var failed []run.PackageResult
	var err error
	if engines := b.r.Rebuild.Elsewhere[b.cell.System]; engines != nil {
		second, failed, err = b.elsewhere(ctx, engines)
	} else {
		second = &run.SecondBuild{Emulated: b.r.emulated(b.engine, b.cell), Cores: otherCores(b.engine)}
		if here := b.probed.here(); here != nil {
			second.Emulated, second.Sandbox = here.Emulated, here.Sandbox
		}
		failed, err = b.here(ctx)
	}
	if second != nil {
		second.Seconds = run.Seconds(b.r.Now().Sub(started))
	}
	return second, failed, errors.Join(err, b.r.recordSecondBuild(b.todo))
}

// describe returns the result in a few words.
func (b secondBuild) describe(second *run.SecondBuild, same int) string {
	text := run.Count(same, "package") + " the same a second time"
	if second.Engine != nil {
		text += ", on " + describe(*second.Engine, b.cell)
	}
	return text
}

// here has Nix build the derivations again where they were built, and compare.
func (b secondBuild) here(ctx context.Context) ([]run.PackageResult, error) {
	if err := b.r.fetch(ctx, b.x, b.todo); err != nil { // what a cache serves is to be here to be compared with
		return nil, err
	}
	log := b.newLog()
	err := b.check(ctx, b.x, otherCores(b.engine), b.probed, b.todo, log)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return b.judge(ctx, b.x, b.todo, log, err)
}

// newLog keeps the logs of the second builds beside those of the first.
func (b secondBuild) newLog() *buildlog.Log {
	config := b.r.logConfig(b.cell.System)
	config.Logs = b.r.Logs.Sub("rebuild")
	return buildlog.New(config)
}

// check has Nix compare what it builds with what is there; see nix-store --realise --check in the Nix manual.
// What differs is kept beside the first result, as PATH.check.
func (b secondBuild) check(ctx context.Context, x engine.Executor, cores int, p probed, todo []*run.PackageResult, log *buildlog.Log) error {
	return b.realise(ctx, x, cores, p, todo, log, []string{"--check", "--keep-failed"}, nil)
}

// realise is one command of Nix, under other conditions than the first build had.
func (b secondBuild) realise(ctx context.Context, x engine.Executor, cores int, p probed, todo []*run.PackageResult, log *buildlog.Log, flags []string, extra nix.Settings) error {
	args := slices.Concat([]string{"--realise"}, flags, []string{"--keep-going", "--log-format", "internal-json"}, derivations(todo))
	settings := b.r.Settings.With(p.settings()).With(nix.Settings{
		"cores": strconv.Itoa(cores), "max-jobs": "1",
		"builders":      "",      // one would take the result that it has for a second one, and Nix would not compare
		"run-diff-hook": "false", // a program of the machine's owner, who does not need it here
	}).With(extra)
	err := log.Run(ctx, x, engine.Command{
		Program: "nix-store", Args: args, Settings: settings, Privileged: p.privileged(), BusyBuildDir: true,
	})
	log.DecideByStore(nil)
	return err
}

// otherCores is a number of processors that the first build did not have: one less than all, or one more than one.
func otherCores(e engine.Engine) int {
	if e.Cores == 1 {
		return 2
	}
	return max(1, e.Cores-1)
}

// judge gives each output its verdict, by what Nix has said, and returns the packages that are not the same.
// A build that could not run, for example because memory ran out, has no verdict and is an error.
func (b secondBuild) judge(ctx context.Context, x engine.Executor, todo []*run.PackageResult, log *buildlog.Log, buildErr error) (failed []run.PackageResult, err error) {
	for _, p := range todo {
		f := log.Failure(p.Derivation)
		switch {
		case f == nil && (buildErr == nil || log.Built(p.Derivation)):
			for i := range p.Outputs {
				p.Outputs[i].Rebuild = run.Good
			}
		case f == nil: // not come to
		case f.Kind == run.NotReproducible || f.Kind == run.BuilderFailed || f.Kind == run.OutputRefused:
			p.Difference = b.difference(ctx, x, p, f)
			failed = append(failed, *p)
		default:
			err = fmt.Errorf("rebuild %s: %s: %s", p.Package, f.Kind, f.Message)
		}
	}
	switch {
	case len(failed) > 0:
		return failed, nil // which is what the run is about by then
	case err == nil && buildErr != nil:
		err = fmt.Errorf("rebuild: %w", buildErr)
	}
	return nil, err
}

// differs is how all versions of Nix say it; the second path is there with --keep-failed.
var differs = regexp.MustCompile(`output '([^']+)' differs(?: from '([^']+)')?`)

// difference marks the output that differs, and looks into it. A second build that fails is a difference too.
func (b secondBuild) difference(ctx context.Context, x engine.Executor, p *run.PackageResult, f *run.Failure) *run.Difference {
	m := differs.FindStringSubmatch(f.Message)
	if m == nil {
		for i := range p.Outputs {
			p.Outputs[i].Rebuild = run.Bad
		}
		return &run.Difference{Reason: "the first build succeeded, and a second one failed: " + f.Message}
	}
	path, err := logicalPath(m[1])
	if err != nil {
		return &run.Difference{Reason: f.Message}
	}
	for i, o := range p.Outputs {
		if o.Path == path {
			p.Outputs[i].Rebuild = run.Bad // Nix looks no further than this
		}
	}
	d := &run.Difference{Output: path, Reason: "a second build differs in " + string(path)}
	if m[2] != "" {
		d.Kept, d.Files, d.Page = b.r.CompareKept(ctx, b.r.Rebuild.Evidence, path, b.r.keepFrom(x, "first", path), b.r.keepFile(x, path.Base()+".second", m[2]))
	}
	return d
}
