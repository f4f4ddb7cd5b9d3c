package run

import (
	"context"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Evidence keeps contents that should be equal and differ, and compares them.
type Evidence interface {
	// KeepExport reads a stream of nix-store --export with one store object, and keeps its NAR under a name.
	// It returns the file.
	KeepExport(ctx context.Context, name string, stream io.Reader) (file string, err error)
	// KeepNAR keeps the NAR that dump writes.
	KeepNAR(ctx context.Context, name string, dump func(context.Context, io.Writer) error) (file string, err error)
	// Compare compares two kept files. It returns a line for each of the first few files in them that differ, with the
	// likely cause. Page is a file for a browser.
	Compare(ctx context.Context, first, second string) (lines []string, page string, err error)
}

// KeepFunc keeps one side of a comparison, and returns its file.
type KeepFunc func(context.Context) (file string, err error)

// KeepFrom returns a function that keeps a store object of a cache as a side of a comparison, such as "theirs".
func KeepFrom(e Evidence, cache NARSource, path nix.StorePath, side string) KeepFunc {
	return func(ctx context.Context) (string, error) {
		return e.KeepNAR(ctx, path.Base()+"."+side, func(ctx context.Context, w io.Writer) error { return cache.Dump(ctx, w, path) })
	}
}

// CompareKept keeps both sides of a store path, and compares them. Without evidence it does nothing. Errors are warnings,
// because the contents differ in any case.
func (r Recorder) CompareKept(ctx context.Context, e Evidence, path nix.StorePath, keepFirst, keepSecond KeepFunc) (kept, files []string, page string) {
	if e == nil {
		return nil, nil, ""
	}
	first, err := keepFirst(ctx)
	if err == nil {
		var second string
		if second, err = keepSecond(ctx); err == nil {
			kept = []string{first, second}
			files, page, err = e.Compare(ctx, first, second)
		}
	}
	if err != nil && ctx.Err() == nil {
		r.Warn("", "compare both contents of %s: %v", path, err)
	}
	return kept, files, page
}

// HintKept adds to an error the command that compares two kept contents.
func HintKept(err error, what string, kept []string, page string) error {
	if len(kept) != 2 {
		return err
	}
	err = hint.Wrap(err, "both results of %s are kept: go run ./ci compare %s %s", what, hint.Quote(kept[0]), hint.Quote(kept[1]))
	if page == "" {
		return err
	}
	return hint.Wrap(err, "the differences of %s as a page for a browser: %s", what, page)
}
