package pipelines

import (
	"context"
	"io"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// keepFrom returns what keeps a store object of a cell's engine as a side of a comparison, such as "first".
func (r *Release) keepFrom(c *cell, side string, path nix.StorePath) run.KeepFunc {
	return func(ctx context.Context) (string, error) { return r.keepPath(ctx, c, path.Base()+"."+side, path) }
}

// keepFile does the same for files that are not a valid store object: it adds them to the store as one.
func (r *Release) keepFile(c *cell, name, path string) run.KeepFunc {
	return func(ctx context.Context) (string, error) {
		out, err := c.nixStore(ctx, "--add", path)
		if err != nil {
			return "", err
		}
		added, err := nix.ParseStorePath(strings.TrimSpace(string(out)))
		if err != nil {
			return "", err
		}
		return r.keepPath(ctx, c, name, added)
	}
}

func (r *Release) keepPath(ctx context.Context, c *cell, name string, path nix.StorePath) (file string, err error) {
	err = c.exportTo(ctx, []nix.StorePath{path}, func(ctx context.Context, stream io.Reader) (err error) {
		file, err = r.Rebuild.Evidence.KeepExport(ctx, name, stream)
		return err
	})
	return file, err
}

// logicalPath returns the store path of a file. Nix names its physical path, which differs for a store below another root.
func logicalPath(physical string) (nix.StorePath, error) {
	return nix.ParseStorePath(string(nix.StoreDir) + "/" + filepath.Base(physical))
}
