package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// prepare makes a run from the options. Only here interfaces get their concrete types. cleanup closes what it opened. It is
// longer than a screen because each part needs several of those before it.
func prepare(ctx context.Context, sys process, cmd command, o *options, report run.Reporter) (r *pipelines.Release, cleanup func(), err error) {
	now := sys.clock()
	id := cmp.Or(o.run, newRunID(now()))
	if err := checkResults(o.out, cmd); err != nil {
		return nil, nil, err
	}
	dirs, err := makeDirs(sys, o.out, id)
	if err != nil {
		return nil, nil, err
	}
	engineLog := &lazyFile{File: regular.File{Dir: dirs.logs, Base: "engine.log"}}
	closeAll := func() { engineLog.Close(); dirs.work.Remove() }
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	recorder := &run.Recorder{Report: report, Now: now}
	without, refused := sys.checkEventPolicy(revision(o.project.Flake, o.ref))
	if refused != nil { // nothing is opened for a run that may not start
		return &pipelines.Release{Job: pipelines.Job{Recorder: recorder, Refused: refused}}, closeAll, nil
	}
	trees := flake.Snapshotter{Dir: dirs.work.Path, Env: host.Environment(sys.environ), Results: o.results()}
	src, err := newSource(sys, trees, o.project.Flake, o.ref)
	if err != nil {
		return nil, nil, err
	}
	if err := checkOut(ctx, sys, o.out.Name(), dirs.work.Path); err != nil {
		return nil, nil, err
	}
	builds, err := openRecord(ctx, sys, recordPlace{flake: o.project.Flake, out: o.out.Name(), scratch: dirs.work.Path, readOnly: cmd.readOnly})
	if err != nil {
		return nil, nil, err
	}
	closeAll = func() { engineLog.Close(); builds.Close(); dirs.work.Remove() }
	warn := once(func(text string) { report.Report(now(), run.Notice{Level: run.Warning, Text: text}) })
	taken, err := o.takeTree(ctx, &sys, cmd, consent{record: builds, notify: func(n run.Notice) { report.Report(now(), n) }}, src)
	if err != nil {
		return nil, nil, err
	}
	store, served, err := openCaches(o.resultOptions, o.project, cmd, builds, warn)
	if err != nil {
		return nil, nil, err
	}
	publisher, err := o.publisher(sys, cmd, id, store, without)
	if err != nil {
		return nil, nil, err
	}
	overrides, err := takeOverrides(ctx, trees, o.overrides)
	if err != nil {
		return nil, nil, err
	}
	engines := o.newEngines(sys, dagger.Options{
		Image: o.image, Cache: dirs.cache, Log: engineLog.when(o.verbose && !cmd.readOnly), LogFile: engineLog.Path(),
		Notice: once(func(text string) { report.Report(now(), run.Notice{Level: run.Info, Text: text}) }),
	})
	r = &pipelines.Release{
		Job: pipelines.Job{
			Recorder: recorder, ID: id, Command: cmd.name, Tool: toolName + " " + version, Flake: shownRef(o.project.Flake),
			Cells: o.cells, EverySystem: o.everySystem, FailFast: o.failFast, Source: src, Taken: taken, Overrides: overrides,
			Nix: pipelines.Nix{
				Engines: engines, Settings: engines.host.Settings, Builders: o.builders, Memlock: engines.host.Memlock,
				Logs: dirs.logs, Stall: o.stall, Record: builds,
			},
		},
		Contract: o.contract.ContractPolicy, CacheKeys: cacheKeys(o.project.ServedBy), FixHint: fixHint(*o),
		Served: served, Fresh: cmd.ignoresCaches, Rebuild: o.rebuild.Rebuilding, Publish: publisher,
		Results: pipelines.Results{
			Manifest: regular.File{Dir: o.out, Base: cmp.Or(cmd.manifest, "manifest.json")}, Job: sys.job().Page(),
		},
	}
	r.History, _ = src.(pipelines.History) // the built-in flake has none
	r.Rebuild.Evidence = newEvidence(o.out.Sub("differs", id), now)
	r.Rebuild.Elsewhere = o.rebuild.elsewhere(o.cells, engines)
	r.Publish.Recorder, r.Publish.Evidence = recorder, r.Rebuild.Evidence
	if cmd.exports {
		r.Derivations = o.out
	}
	if o.export == exportOwn {
		if r.Public, err = signedBy(o.project.TrustedKeys); err != nil {
			return nil, nil, usage(err)
		}
	}
	if store != nil {
		r.Store = store // a nil *Store in the interface would not be nil
	}
	return r, closeAll, nil
}

// newEngines returns the engines of a run.
func (o *options) newEngines(sys process, c dagger.Options) *engines {
	return newEngines(o.engines, host.Options{
		Settings: nixSettings(o.project, o.engineOptions), Env: sys.environ, Memlock: int64(o.project.Memlock),
		NoFallback: len(sys.secrets.texts()) > 0 && !o.publish.unsandboxed, // a builder without a sandbox could take the secret
	}, c)
}

// withRelease prepares a run, does something with it, and closes what it has opened.
func withRelease(ctx context.Context, sys process, cmd command, o *options, do func(*pipelines.Release) error) error {
	reporter := newReporter(sys, o.outputOptions)
	r, cleanup, err := prepare(ctx, sys, cmd, o, reporter)
	if err != nil {
		return errors.Join(err, reporter.Close())
	}
	defer cleanup()
	return errors.Join(do(r), reporter.Close())
}

// newRunID names a run by its time, so that names sort by time, and two simultaneous runs do not conflict.
func newRunID(now time.Time) string {
	return now.UTC().Format("20060102-150405-") + strings.ToLower(rand.Text()[:6])
}

// refused reports a run that ends before its first step.
func refused(now func() time.Time, report run.Reporter, err error) error {
	recorder := run.Recorder{Report: report, Now: now}
	err = recorder.Fail(run.StepPreflight, err)
	recorder.Event(run.RunFinished{})
	return err
}

// once returns a function that passes each text once: several systems often share an engine.
func once(pass func(string)) func(string) {
	var passed sync.Map
	return func(text string) {
		if _, again := passed.LoadOrStore(text, true); !again {
			pass(text)
		}
	}
}
