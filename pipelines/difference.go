package pipelines

import (
	"context"
	"io"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Evidence keeps results that should be the same and are not, and looks into them.
type Evidence interface {
	// KeepExport reads a stream of nix-store --export with one store object in it, and keeps its NAR under a name.
	// It returns the file.
	KeepExport(ctx context.Context, name string, stream io.Reader) (file string, err error)
	// KeepNAR does so with the NAR that dump writes.
	KeepNAR(ctx context.Context, name string, dump func(context.Context, io.Writer) error) (file string, err error)
	// Compare says in what two files differ that were kept: a line for each of the first few files in them, with the
	// likely cause. Page is a file that a browser shows.
	Compare(ctx context.Context, first, second string) (lines []string, page string, err error)
}

// hintKept adds to an error how to look into two results of what it is about.
func hintKept(err error, what string, kept []string, page string) error {
	if len(kept) != 2 {
		return err
	}
	err = hint.Wrap(err, "both results of %s are kept: go run ./ci compare '%s' '%s'", what, kept[0], kept[1])
	if page == "" {
		return err
	}
	return hint.Wrap(err, "the differences of %s as a page for a browser: %s", what, page)
}

// keeper gets a result from where it is, keeps it, and returns its file.
type keeper func(context.Context) (string, error)

// look keeps both results of a store path, and says in what they differ, with a page that shows it.
// That this cannot be said does not make them the same: it is a warning.
func (r *Release) look(ctx context.Context, path nix.StorePath, keepFirst, keepSecond keeper) (kept, files []string, page string) {
	if r.Rebuild.Evidence == nil {
		return nil, nil, ""
	}
	first, err := keepFirst(ctx)
	if err == nil {
		var second string
		if second, err = keepSecond(ctx); err == nil {
			kept = []string{first, second}
			files, page, err = r.Rebuild.Evidence.Compare(ctx, first, second)
		}
	}
	if err != nil && ctx.Err() == nil {
		r.Warn("", "look into the difference of %s: %v", path, err)
	}
	return kept, files, page
}

// keepFrom returns what keeps a store object of an engine as a side of a comparison, such as "first".
func (r *Release) keepFrom(x engine.Executor, side string, path nix.StorePath) keeper {
	return func(ctx context.Context) (string, error) { return r.keepPath(ctx, x, path.Base()+"."+side, path) }
}

// keepFile is the same for files of an engine that are no valid store object: they are added to the store as one.
func (r *Release) keepFile(x engine.Executor, name, path string) keeper {
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
