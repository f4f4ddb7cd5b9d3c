package pipelines

import (
	"context"
	"io"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// keepFrom returns what keeps a store object of an engine as a side of a comparison, such as "first".
func (r *Release) keepFrom(x engine.Executor, side string, path nix.StorePath) run.KeepFunc {
	return func(ctx context.Context) (string, error) { return r.keepPath(ctx, x, path.Base()+"."+side, path) }
}

// keepFile is the same for files of an engine that are no valid store object: they are added to the store as one.
func (r *Release) keepFile(x engine.Executor, name, path string) run.KeepFunc {
	return func(ctx context.Context) (string, error) {
		out, err := x.Run(ctx, engine.Command{Program: "nix-store", Args: []string{"--add", path}, Settings: r.Settings})
		if err != nil {
			return "", err
		}
		added, err := nix.ParseStorePath(strings.TrimSpace(string(out)))
		if err != nil {
			return "", err
		}
		return r.keepPath(ctx, x, name, added)
	}
}

func (r *Release) keepPath(ctx context.Context, x engine.Executor, name string, path nix.StorePath) (file string, err error) {
	pr, pw := io.Pipe()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := x.Export(ctx, pw, []nix.StorePath{path})
		pw.CloseWithError(err) // nil ends the stream; the reader sees another error as its own
		return err
	})
	g.Go(func() error {
		var err error
		file, err = r.Rebuild.Evidence.KeepExport(ctx, name, pr)
		pr.CloseWithError(err)
		return err
	})
	return file, g.Wait()
}

// logicalPath is the store path of a file of Nix's store, which Nix calls by where it really is: with a store below
// another root, that is not where it seems to be.
func logicalPath(physical string) (nix.StorePath, error) {
	return nix.ParseStorePath(string(nix.StoreDir) + "/" + filepath.Base(physical))
}
