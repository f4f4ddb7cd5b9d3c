package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/outcache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// prepare makes a run out of the options: the one place where interfaces get their concrete types.
// What it has opened, cleanup closes.
func prepare(ctx context.Context, sys system, command string, o options, report run.Reporter) (r *pipelines.Release, cleanup func(), err error) {
	now := sys.clock()
	id := cmp.Or(o.run, newRunID(now()))
	if err := checkResults(o.out, command); err != nil {
		return nil, nil, err
	}
	dirs, err := makeDirs(sys, o, id)
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
	without, err := sys.allow(o.revision())
	if err != nil {
		refused(now(), report, err)
		return nil, nil, err
	}
	src, err := newSource(sys, o, dirs.work.Path)
	if err != nil {
		return nil, nil, err
	}
	if err := checkOut(ctx, sys, o.out.Name(), dirs.work.Path); err != nil {
		return nil, nil, err
	}
	builds, err := openRecord(ctx, sys, recordPlace{flake: o.target.flake, out: o.out.Name(), scratch: dirs.work.Path, readOnly: command == commandPlan})
	if err != nil {
		return nil, nil, err
	}
	closeAll = func() { engineLog.Close(); builds.Close(); dirs.work.Remove() }
	warn := once(func(text string) { report.Report(now(), run.Notice{Level: run.Warning, Text: text}) })
	store, served, err := openCaches(o, command, builds, warn)
	if err != nil {
		return nil, nil, err
	}
	publish, err := newPublishing(sys, o, command, id, store, without)
	if err != nil {
		return nil, nil, err
	}
	overrides, err := takeOverrides(ctx, sys, o, dirs.work.Path)
	if err != nil {
		return nil, nil, err
	}
	settings := nixSettings(o)
	manifest := "manifest.json"
	if command == commandCheck {
		manifest = "check.json" // the manifest of the last release stays
	}
	engines := &engines{
		choice: o.engines, image: o.image, memlock: o.target.memlock, settings: settings, environ: sys.environ,
		cacheDir: dirs.cache, log: engineLog.when(o.verbose && command != commandPlan), logFile: engineLog.Path(),
		guarded: len(sys.secrets.texts()) > 0 && !o.publish.unsandboxed,
		notice: once(func(text string) {
			report.Report(now(), run.Notice{Level: run.Info, Text: text})
		}),
	}
	r = &pipelines.Release{
		ID: id, Command: command, Tool: "open-sesame-ci " + version, Flake: o.target.flake, Job: github{sys.environ}.job(),
		Cells: o.cells, Source: src, Overrides: overrides, Served: served, Publish: publish, Rebuild: o.rebuild, Engines: engines,
		CacheKeys: cacheKeys(o.target.cache),
		Record:    builds, Fresh: command == commandCheck || command == commandReproduce, Contract: o.contract,
		Recorder: run.Recorder{Report: report, Now: now}, Settings: settings, Builders: o.builders, Memlock: o.target.memlock,
		Logs: dirs.logs, ManifestFile: regular.File{Dir: o.out, Base: manifest},
		FixHint: fixHint(o), FailFast: o.failFast, Stall: o.stall,
	}
	r.History, _ = src.(pipelines.History) // the built-in flake has none
	r.Rebuild.Evidence = newEvidence(o.out.Sub("differs", id), now)
	r.Rebuild.Elsewhere = elsewhere(o, engines)
	switch command {
	case commandRelease, commandWarm, commandBuild, commandReproduce:
		r.Derivations = derivationFiles{out: o.out}
	}
	if store != nil {
		r.Store = store // a nil directory would be an interface that is not nil
	}
	return r, closeAll, nil
}

// newRunID names a run: by its time, so that names sort as runs do, and so that two at once do not harm each other.
func newRunID(now time.Time) string {
	return now.UTC().Format("20060102-150405-") + strings.ToLower(rand.Text()[:6])
}

// revision is what the command line says of which tree to take: by --ref, or in the flake's reference.
func (o options) revision() string {
	ref, err := flake.ParseRef(o.target.flake)
	if o.ref != "" || err != nil {
		return o.ref
	}
	return ref.Ref
}

// refused tells of a run that is at its end before it has begun.
func refused(at time.Time, report run.Reporter, err error) {
	report.Report(at, run.StepFinished{Step: run.StepPreflight, Error: err.Error()})
	report.Report(at, run.RunFinished{})
}

// once returns a function that passes each text on the first time alone: several systems often share an engine.
func once(pass func(string)) func(string) {
	var said sync.Map
	return func(text string) {
		if _, again := said.LoadOrStore(text, true); !again {
			pass(text)
		}
	}
}

// checkResults refuses a directory of results in which a run could not write in the end, before it begins.
func checkResults(out *regular.Dir, command string) error {
	for name, isDir := range map[string]bool{
		"cache": true, "derivations": true, "differs": true, "journal": true, "logs": true, "sbom": true,
		"check.json": false, "manifest.json": false, provenance.FileName: false,
	} {
		info, err := out.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
		case isDir && !info.IsDir():
			err = &fs.PathError{Op: "open", Path: out.File(name), Err: syscall.ENOTDIR}
		case !isDir && info.IsDir():
			err = &fs.PathError{Op: "open", Path: out.File(name), Err: syscall.EISDIR}
		case !isDir && !info.Mode().IsRegular():
			err = &fs.PathError{Op: "open", Path: out.File(name), Err: regular.ErrNotRegular}
		}
		if err != nil {
			return unfit(err)
		}
	}
	if command == commandPlan || command == commandCheck {
		return nil
	}
	// The run adds to the provenance of earlier ones.
	_, err := provenance.Read(regular.File{Dir: out, Base: provenance.FileName})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(err, "move the file away; a new one is then written")
	}
	return nil
}

// tryWriting makes a directory of results, and makes and removes a directory in it.
func tryWriting(out *regular.Dir) error {
	trial, err := out.MakeTemp(".trial-")
	if err == nil {
		err = out.Remove(filepath.Base(trial.Name()))
	}
	if err != nil {
		return unfit(err)
	}
	return nil
}

func unfit(err error) error {
	return hint.Wrap(fmt.Errorf("open directory of results: %w", err), "name another directory: --out DIR")
}

// dirs are the directories of a run.
type dirs struct {
	work  *workdir.Dir // removed at its end: snapshot, overrides
	logs  *regular.Dir // in --out, and kept
	cache string       // of the user, shared by all runs, and safe to remove
}

func makeDirs(sys system, o options, id string) (d dirs, err error) {
	d.logs = o.out.Sub("logs", id) // made when the first log is written
	env := environment(sys.environ)
	base := env.get("XDG_CACHE_HOME")
	if base == "" {
		base = filepath.Join(env.get("HOME"), ".cache")
	}
	d.cache = filepath.Join(base, "open-sesame-ci")
	workdir.RemoveDead(env.get("TMPDIR"))
	if d.work, err = workdir.Make(env.get("TMPDIR"), "run"); err != nil {
		return d, fmt.Errorf("make working directory: %v", err)
	}
	return d, nil
}

// The commands that a run tells apart. plan changes nothing, --out included; build never publishes, and warm pins nothing.
const (
	commandRelease = "release"
	commandWarm    = "warm"
	commandBuild   = "build"
	commandPlan    = "plan"
)

// openCaches opens the store of --out, and returns it with the caches whose outputs a run leaves alone. With --out, and
// with the command build, outputs are always exported, even if a public cache has them.
func openCaches(o options, command string, builds *record.Record, warn func(string)) (*outcache.Store, []pipelines.ServingCache, error) {
	if command == commandCheck {
		return nil, nil, tryWriting(o.out) // what a cache serves is looked into as well, and nothing is exported
	}
	var store *outcache.Store
	var caches []pipelines.ServingCache
	dir := o.out.Sub("cache")
	if command == commandPlan {
		if d, err := binarycache.OpenReadOnlyIn(dir); err == nil {
			store = outcache.New(d, builds, warn)
			caches = append(caches, store)
		}
	} else {
		d, err := binarycache.OpenIn(dir)
		if err != nil {
			return nil, nil, hint.Wrap(err, "name another directory: --out DIR")
		}
		store = outcache.New(d, builds, warn)
		caches = append(caches, store)
	}
	if command == commandReproduce {
		return store, nil, nil // what any cache serves is built all the same
	}
	if o.target.cache == "" || o.outGiven || command == commandBuild {
		return store, caches, nil
	}
	public, err := binarycache.OpenURL(o.target.cache)
	if err != nil {
		return nil, nil, usage(err)
	}
	keys, err := binarycache.ParsePublicKeys(o.target.keys)
	if err != nil {
		return nil, nil, usage(err)
	}
	return store, append(caches, binarycache.Signed{Cache: public, Keys: keys, Warn: warn}), nil
}

// cacheKeys returns what knows the keys of the cache that consumers use; nil for a cache that is not of Cachix.
func cacheKeys(public string) pipelines.CacheKeys {
	name, ok := cachix.NameOf(public)
	if !ok {
		return nil
	}
	// Off the network the answer is that there is none, and it is there at once.
	client, err := cachix.New(name, cachix.Options{Agent: "open-sesame-ci/" + version, Attempts: 3})
	if err != nil {
		return nil
	}
	return publicKeys{client}
}

// publicKeys asks a cache for its keys, and does not wait long: nothing that is published depends on the answer.
type publicKeys struct{ client *cachix.Client }

func (k publicKeys) PublicKeys(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return k.client.PublicKeys(ctx)
}

// newSource returns what takes the snapshot: of a reference, or of the flake that is built into this program.
func newSource(sys system, o options, work string) (pipelines.Source, error) {
	if o.target.flake == exampleFlake {
		if o.ref != "" {
			return nil, usage(fmt.Errorf("take snapshot of %s: --ref goes with a flake under version control", exampleFlake))
		}
		return exampleSource{work: work, env: host.Environment(sys.environ)}, nil
	}
	ref, err := flake.ParseRef(o.target.flake)
	if err != nil {
		return nil, usage(err)
	}
	source := &flake.Snapshotter{Ref: ref, Revision: o.ref, Dir: work, Env: host.Environment(sys.environ), Results: o.results()}
	if len(sys.secrets.texts()) > 0 {
		return guardedSource{source, readTrigger(github{sys.environ})}, nil
	}
	return source, nil
}

// results are the directories for results of this run, and of earlier ones that are known.
func (o options) results() []string { return append(slices.Clone(o.otherResults), o.out.Name()) }

// exampleSource writes the built-in flake out and takes the snapshot of that.
type exampleSource struct {
	work string
	env  []string
}

// exampleTime is the modification time of the built-in flake: a fixed one, so that everyone builds the same paths.
const exampleTime = 1767225600 // 2026-01-01

func (s exampleSource) Snapshot(ctx context.Context) (run.Snapshot, error) {
	dir := filepath.Join(s.work, exampleFlake)
	if err := example.Write(dir); err != nil {
		return run.Snapshot{}, err
	}
	ref, err := flake.ParseRef("path:" + dir + "?lastModified=" + strconv.Itoa(exampleTime))
	if err != nil {
		return run.Snapshot{}, err
	}
	snapshot, err := (&flake.Snapshotter{Ref: ref, Dir: s.work, Env: s.env}).Snapshot(ctx)
	snapshot.URL = exampleFlake
	return snapshot, err
}

// takeOverrides takes the trees of those overrides that are directories of this machine,
// so that an engine elsewhere gets them too.
func takeOverrides(ctx context.Context, sys system, o options, work string) ([]pipelines.Override, error) {
	var all []pipelines.Override
	for _, v := range o.overrides {
		override := pipelines.Override{Input: v.input, Ref: v.flake}
		info, err := os.Stat(v.flake)
		if v.narHash != "" && (err != nil || !info.IsDir()) {
			return nil, usage(fmt.Errorf("take override of input %s: %s is not a directory", v.input, v.flake))
		}
		if err == nil && info.IsDir() {
			ref, err := flake.ParseRef(v.flake)
			if err != nil {
				return nil, usage(err)
			}
			ref.NARHash = cmp.Or(v.narHash, ref.NARHash)
			s, err := (&flake.Snapshotter{Ref: ref, Dir: work, Env: host.Environment(sys.environ), Results: o.results()}).Snapshot(ctx)
			if err != nil {
				return nil, err
			}
			locked, err := flake.ParseRef(s.URL)
			if err != nil {
				return nil, err
			}
			locked.NARHash = s.NARHash // so that the manifest says which tree it was
			override.Dir, override.Ref = filepath.Join(s.Dir, s.Subdir), locked.String()
		}
		all = append(all, override)
	}
	return all, nil
}

// nixSettings are the settings of every command of Nix. They name all that could let this machine into a result, run
// a program of its owner's or publish by itself, so that a user's or a machine's own settings do not. Accounts, limits,
// disks, networks and what the owner restricts stay the machine's.
func nixSettings(o options) nix.Settings {
	return nix.Settings{
		// Added to the machine's own, on which settings of its owner's may depend, such as use-cgroups.
		"extra-experimental-features": "nix-command flakes",
		"accept-flake-config":         "false", // the flake's caches are the target's; what else it asks for is not granted
		"substitute":                  "true",
		"substituters":                strings.Join(o.target.substituters, " "),
		"trusted-public-keys":         strings.Join(o.target.keys, " "),
		"builders":                    nix.FormatBuilders(o.builders),
		"max-jobs":                    o.jobs.setting(),
		"cores":                       "0",
		"keep-outputs":                "false",
		// What a machine's own nix.conf could let builders see, or have evaluation find.
		"sandbox-build-dir": "/build",
		"pre-build-hook":    "",
		"post-build-hook":   "",
		"plugin-files":      "",
		"nix-path":          "",
		"eval-cache":        "false", // a file of the user's
		// A flaky cache must not end a run that could build what it does not give.
		"fallback":                 "true",
		"connect-timeout":          "10",
		"stalled-download-timeout": "60",
		// Systems share sources that have one path for all. Who comes second looks again after so many seconds, 5 by default.
		"build-poll-interval": "1",
		// The tail of a log is ours to show.
		"log-lines": "25",
	}
}
