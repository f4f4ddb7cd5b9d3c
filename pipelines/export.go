package pipelines

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// export streams into the store what it lacks of the closures of all packages that were built, and returns what it has added.
// Before that it verifies what they are built from: what the store has, later runs take for good, and push.
// The packages that a failed one has left unharmed are exported too: what they cost is not paid twice.
func (r *Release) export(ctx context.Context, x engine.Executor, cell matrix.Cell, packages []run.PackageResult, infos []nix.PathInfo) (added []nix.Added, err error) {
	err = r.Step(ctx, run.StepExport, cell.System, func() (string, error) {
		if len(infos) > 0 {
			if err := r.verifyInputs(ctx, x, cell.System, packages); err != nil {
				return "", err
			}
		}
		if err := r.checkStoreConflicts(ctx, x, cell, infos); err != nil {
			return "", err
		}
		if err := r.Record.Note(r.ID, infos); err != nil {
			return "", err
		}
		if err := r.Store.SetAside(ctx, pathsOf(infos)); err != nil {
			return "", err
		}
		missing, size, err := r.lacking(ctx, infos)
		if err != nil {
			return "", err
		}
		if len(missing) == 0 {
			return "", run.Skipped("nothing new")
		}
		if added, err = r.stream(ctx, x, cell, missing, size); err != nil {
			return "", fmt.Errorf("export %s: %w", run.Count(len(missing), "path"), err)
		}
		return fmt.Sprintf("%s, %s", run.Count(len(added), "path"), compressed(added)), nil
	})
	return added, err
}

// checkStoreConflicts compares a closure with what the store has of it.
func (r *Release) checkStoreConflicts(ctx context.Context, x engine.Executor, cell matrix.Cell, infos []nix.PathInfo) error {
	check := publish.ConflictCheck{Recorder: r.Recorder, Evidence: r.Rebuild.Evidence, System: cell.System, KeepOurs: func(path nix.StorePath) run.KeepFunc {
		return r.keepFrom(x, "ours", path)
	}}
	return check.Run(ctx, r.Store, infos)
}

// lacking returns those paths of a closure that the store has not, and their size in bytes.
func (r *Release) lacking(ctx context.Context, infos []nix.PathInfo) (missing []nix.StorePath, size int64, err error) {
	closure, sizes := pathsOf(infos), make(map[nix.StorePath]int64, len(infos))
	for _, info := range infos {
		sizes[info.Path] = info.NARSize
	}
	missing, err = r.Store.Missing(ctx, closure)
	for _, p := range missing {
		size += sizes[p]
	}
	return missing, size, err
}

// stream joins the two ends: the executor writes what the store reads.
func (r *Release) stream(ctx context.Context, x engine.Executor, cell matrix.Cell, paths []nix.StorePath, size int64) (added []nix.Added, err error) {
	pr, pw := io.Pipe()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := x.Export(ctx, pw, paths)
		pw.CloseWithError(err) // nil ends the stream; the reader sees another error as its own
		return err
	})
	g.Go(func() error {
		counted := &progressReader{Reader: pr, now: r.Now, report: func(n int64) {
			r.Event(run.Exported{System: cell.System, Bytes: n, Of: size})
		}}
		var err error
		added, err = r.Store.Import(ctx, counted)
		pr.CloseWithError(err)
		return err
	})
	return added, g.Wait()
}

func compressed(added []nix.Added) string {
	var before, after int64
	for _, a := range added {
		before, after = before+a.NARSize, after+a.FileSize
	}
	return run.Sizes(before, after)
}

// progressReader reports how many bytes were read through it, at intervals.
type progressReader struct {
	io.Reader
	n      int64
	now    func() time.Time
	shown  run.Throttle
	report func(int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.n += int64(n)
	if p.shown.Allow(p.now()) {
		p.report(p.n)
	}
	return n, err
}

func pathsOf(infos []nix.PathInfo) []nix.StorePath {
	paths := make([]nix.StorePath, len(infos))
	for i, info := range infos {
		paths[i] = info.Path
	}
	return paths
}
