package pipelines

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// export streams into the store what it lacks of the closures of all packages that were built, and then confirms them.
// The packages that a failed one has left unharmed are exported too: what they cost is not paid twice.
func (r *Release) export(ctx context.Context, x Executor, cell matrix.Cell, infos []nix.PathInfo) error {
	if ctx.Err() != nil {
		return nil // the build's error says so already
	}
	var closure []nix.StorePath
	var added []nix.Added
	err := r.step(ctx, StepExport, cell.System, func() (string, error) {
		var missing []nix.StorePath
		var size int64
		var err error
		closure, missing, size, err = r.lacking(ctx, infos)
		if err != nil {
			return "", err
		}
		if len(missing) == 0 {
			return "", skipped("nothing new")
		}
		if added, err = r.stream(ctx, x, cell, missing, size); err != nil {
			return "", fmt.Errorf("export %s: %w", count(len(missing), "path"), err)
		}
		return fmt.Sprintf("%s, %s", count(len(added), "path"), compressed(added)), nil
	})
	if err != nil {
		return err
	}
	return r.confirm(ctx, cell, closure, added)
}

// lacking returns the paths of a closure, those of them that the store has not, and their size in bytes.
func (r *Release) lacking(ctx context.Context, infos []nix.PathInfo) (closure, missing []nix.StorePath, size int64, err error) {
	sizes := make(map[nix.StorePath]int64, len(infos))
	for _, info := range infos {
		closure = append(closure, info.Path)
		sizes[info.Path] = info.NARSize
	}
	missing, err = r.Store.Missing(ctx, closure)
	for _, p := range missing {
		size += sizes[p]
	}
	return closure, missing, size, err
}

// stream joins the two ends: the executor writes what the store reads.
func (r *Release) stream(ctx context.Context, x Executor, cell matrix.Cell, paths []nix.StorePath, size int64) (added []nix.Added, err error) {
	pr, pw := io.Pipe()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := x.Export(ctx, pw, paths)
		pw.CloseWithError(err) // nil ends the stream; the reader sees another error as its own
		return err
	})
	g.Go(func() error {
		counted := &progressReader{Reader: pr, now: r.Now, report: func(n int64) {
			r.event(Exported{System: cell.System, Bytes: n, Of: size})
		}}
		var err error
		added, err = r.Store.Import(ctx, counted)
		pr.CloseWithError(err)
		return err
	})
	return added, g.Wait()
}

// confirm reads back what was written, as one who substitutes from the store would.
func (r *Release) confirm(ctx context.Context, cell matrix.Cell, closure []nix.StorePath, added []nix.Added) error {
	return r.step(ctx, StepConfirm, cell.System, func() (string, error) {
		if len(closure) == 0 {
			return "", skipped("nothing was built")
		}
		missing, err := r.Store.Missing(ctx, closure)
		if err != nil {
			return "", err
		}
		if len(missing) > 0 {
			return "", fmt.Errorf("confirm %s: %d of %d paths are not there, such as %s", r.Store.Name(), len(missing), len(closure), missing[0])
		}
		paths := make([]nix.StorePath, len(added))
		for i, a := range added {
			paths[i] = a.Path
		}
		if err := r.Store.Verify(ctx, paths); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s there, %d read back", count(len(closure), "path"), len(added)), nil
	})
}

func compressed(added []nix.Added) string {
	var before, after int64
	for _, a := range added {
		before, after = before+a.NARSize, after+a.FileSize
	}
	return fmt.Sprintf("%.1f MiB as %.1f MiB", float64(before)/(1<<20), float64(after)/(1<<20))
}

// progressReader reports, now and then, how many bytes were read through it.
type progressReader struct {
	io.Reader
	n      int64
	now    func() time.Time
	shown  time.Time
	report func(int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.n += int64(n)
	if now := p.now(); now.Sub(p.shown) >= showEvery {
		p.shown = now
		p.report(p.n)
	}
	return n, err
}
