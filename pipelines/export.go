package pipelines

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// export exports the closure of what was built into the store. Before that it verifies the inputs, because later runs
// trust the contents of the store, and push them. It also exports the successful packages of a failed build.
func (r *Release) export(ctx context.Context, c *cell) error {
	err := r.Step(ctx, run.StepExport, c.System, func() (string, error) {
		if err := r.prepareExport(ctx, c); err != nil {
			return "", err
		}
		missing, err := r.Store.Missing(ctx, nix.PathsOf(c.closure))
		if err != nil {
			return "", err
		}
		if len(missing) == 0 {
			return "", run.Skipped("nothing new")
		}
		if err := r.stream(ctx, c, missing); err != nil {
			return "", fmt.Errorf("export %s: %w", run.Count(len(missing), "path"), err)
		}
		var before, after int64
		for _, a := range c.added {
			before, after = before+a.NARSize, after+a.FileSize
		}
		return fmt.Sprintf("%s, %s", run.Count(len(c.added), "path"), run.Sizes(before, after)), nil
	})
	c.result.Exported = err == nil
	return err
}

// prepareExport verifies the inputs, refuses conflicts with the store, and records the contents.
func (r *Release) prepareExport(ctx context.Context, c *cell) error {
	if len(c.closure) > 0 {
		if err := c.verifyInputs(ctx); err != nil {
			return err
		}
	}
	conflicts := publish.ConflictCheck{Recorder: r.Recorder, Evidence: r.Rebuild.Evidence, System: c.System, KeepOurs: func(path nix.StorePath) run.KeepFunc {
		return r.keepFrom(c, "ours", path)
	}}
	if err := conflicts.Run(ctx, r.Store, c.closure); err != nil {
		return err
	}
	if err := r.Record.Note(r.ID, c.closure); err != nil {
		return err
	}
	if r.Public != nil {
		public := slices.DeleteFunc(slices.Clone(c.closure), func(info nix.PathInfo) bool { return !r.Public(info) })
		r.Store.LeaveOut(nix.PathsOf(public))
	}
	return r.Store.SetAside(ctx, nix.PathsOf(c.closure))
}

// stream exports paths from the engine into the store.
func (r *Release) stream(ctx context.Context, c *cell, paths []nix.StorePath) error {
	sizes := make(map[nix.StorePath]int64, len(c.closure))
	for _, info := range c.closure {
		sizes[info.Path] = info.NARSize
	}
	var size int64
	for _, path := range paths {
		size += sizes[path]
	}
	return c.exportTo(ctx, paths, func(ctx context.Context, stream io.Reader) (err error) {
		c.added, err = r.Store.Import(ctx, &progressReader{Reader: stream, now: r.Now, report: func(n int64) {
			r.Event(run.Exported{System: c.System, Bytes: n, Of: size})
		}})
		return err
	})
}

// progressReader reports at intervals how many bytes were read.
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
