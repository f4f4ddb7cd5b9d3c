package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/capsule"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// failureLog passes events on, and keeps those of builds that have failed: they may be of dependencies, of which the
// manifest says nothing.
type failureLog struct {
	pipelines.Reporter

	mu     sync.Mutex
	failed map[matrix.System]map[nix.StorePath]pipelines.BuildFinished
}

func (l *failureLog) Report(at time.Time, e pipelines.Event) {
	if b, ok := e.(pipelines.BuildFinished); ok && b.Failure != nil && b.Derivation != "" && b.Failure.Kind != pipelines.Unfinished {
		l.mu.Lock()
		if l.failed == nil {
			l.failed = map[matrix.System]map[nix.StorePath]pipelines.BuildFinished{}
		}
		if l.failed[b.System] == nil {
			l.failed[b.System] = map[nix.StorePath]pipelines.BuildFinished{}
		}
		l.failed[b.System][b.Derivation] = b
		l.mu.Unlock()
	}
	l.Reporter.Report(at, e)
}

// leaveCapsule leaves what has failed in a file, and adds to the error how to look at it elsewhere. Where no derivation
// has failed there is nothing to pack; that it could not be packed is told beside the failure.
func leaveCapsule(ctx context.Context, sys system, o options, r *pipelines.Release, m *pipelines.Manifest, l *failureLog, err error) error {
	keeper, ok := r.Derivations.(*derivationFiles)
	if err == nil || ctx.Err() != nil && !timedOut(ctx) || !ok {
		return err
	}
	c := &capsule.Capsule{
		Version: capsule.Version, Tool: m.Tool, Run: r.ID, Command: m.Command, Finished: m.Finished, Source: m.Source,
		Settings: maps.Clone(m.Settings),
		Limits:   capsule.Limits{TimeoutSeconds: o.timeout.Seconds(), Jobs: o.jobs.limit(), Memlock: o.target.memlock},
	}
	delete(c.Settings, "builders") // other machines, and the names of keys to them
	contents := capsule.Contents{Exports: map[string]string{}, Logs: map[string]string{}, Secrets: sys.secrets.texts()}
	for _, cell := range m.Cells {
		if packed, ok := packCell(cell, keeper.whole(cell.System), l.failed[cell.System], contents); ok {
			c.Cells = append(c.Cells, packed)
		}
	}
	if len(c.Cells) == 0 {
		return err
	}
	file := filepath.Join(o.out, "capsules", r.ID+".tar.zst")
	if writeErr := capsule.Write(ctx, file, c, contents); writeErr != nil {
		return errors.Join(err, writeErr)
	}
	return hint.Wrap(err, "to see it fail on another machine: %s", replayCommand(o, file))
}

// packCell describes what has failed of a system. It is false where nothing has, or where nothing was kept of it.
func packCell(cell pipelines.CellResult, export string, failed map[nix.StorePath]pipelines.BuildFinished, contents capsule.Contents) (capsule.Cell, bool) {
	packed := capsule.Cell{
		System: cell.System, Engine: cell.Engine, Emulated: cell.Emulated, Sandbox: cell.Sandbox, Memlock: cell.Memlock,
		Export: string(cell.System) + "/derivations.export",
	}
	if _, err := os.Stat(export); errors.Is(err, fs.ErrNotExist) {
		return packed, false
	}
	contents.Exports[packed.Export] = export
	for _, p := range cell.Packages {
		if p.Derivation != "" && (p.Verdict == pipelines.Failed || p.Difference != nil && !p.Difference.Earlier) {
			p.Log = "" // it is among the failures, under the name of the member
			packed.Packages = append(packed.Packages, p)
		}
	}
	for _, drv := range slices.Sorted(maps.Keys(failed)) {
		b := failed[drv]
		f := capsule.Failure{Derivation: drv, Failure: *b.Failure}
		if b.Log != "" {
			f.Log = "logs/" + string(cell.System) + "/" + strings.TrimPrefix(filepath.Base(b.Log), ".")
			contents.Logs[f.Log] = b.Log
		}
		packed.Failures = append(packed.Failures, f)
	}
	return packed, len(packed.Packages) > 0 && len(packed.Failures) > 0
}
