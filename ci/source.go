package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// revision returns the revision that the command line names, with --ref or in the flake reference.
func (o options) revision() string {
	ref, err := flake.ParseRef(o.project.Flake)
	if o.ref != "" || err != nil {
		return o.ref
	}
	return ref.Ref
}

// newSource returns the source of the snapshot: a flake reference, or the flake that is built into this program.
func newSource(sys process, o options, work string) (pipelines.Source, error) {
	if o.project.Flake == exampleFlake {
		if o.ref != "" {
			return nil, usage(fmt.Errorf("take snapshot of %s: --ref goes with a flake under version control", exampleFlake))
		}
		return exampleSource{work: work, env: host.Environment(sys.environ)}, nil
	}
	ref, err := flake.ParseRef(o.project.Flake)
	if err != nil {
		return nil, usage(err)
	}
	source := &flake.Snapshotter{Ref: ref, Revision: o.ref, Dir: work, Env: host.Environment(sys.environ), Results: o.results()}
	if len(sys.secrets.texts()) > 0 {
		return guardedSource{source, readTrigger(github{sys.environ})}, nil
	}
	return source, nil
}

// results returns the output directories of this run and of known earlier runs.
func (o options) results() []string { return append(slices.Clone(o.otherResults), o.out.Name()) }

// exampleSource writes the built-in flake to a directory, and takes a snapshot of that.
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

// takeOverrides takes snapshots of overrides that are directories of this machine, so that engines elsewhere get them.
func takeOverrides(ctx context.Context, sys process, o options, work string) ([]pipelines.Override, error) {
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
