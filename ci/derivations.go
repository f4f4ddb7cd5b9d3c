package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/derivations"
	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/reproduce"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// originalRun is the run of a manifest, with those of its results that exist: beside it, and in caches.
func originalRun(sys process, o options, file string, m *run.Manifest) (reproduce.Run, error) {
	dir := regular.AnyDir(filepath.Dir(file))
	original := reproduce.Run{Name: file, Manifest: m, Derivations: derivationsIn(dir, sys)}
	cache, err := binarycache.OpenReadOnlyIn(dir.Sub("cache"))
	if err == nil {
		original.Caches = append(original.Caches, cache)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return original, err
	}
	for _, url := range append([]string{o.project.ServedBy}, o.project.Substituters...) {
		if url == "" {
			continue
		}
		public, err := binarycache.OpenURL(url)
		if err != nil {
			continue // Nix knows more kinds of caches than are read here
		}
		if holder, ok := public.(run.NARHasher); ok {
			original.Caches = append(original.Caches, holder)
		}
	}
	return original, nil
}

// rebuiltRun is the run that has just ended.
func rebuiltRun(sys process, out *regular.Dir, m *run.Manifest) (reproduce.Run, error) {
	cache, err := binarycache.OpenReadOnlyIn(out.Sub("cache"))
	return reproduce.Run{Name: "here", Manifest: m, Caches: []run.NARHasher{cache}, Derivations: derivationsIn(out, sys)}, err
}

// derivationsIn returns what has the derivations of a run: the files beside its manifest, and this machine's store, where
// it may have been made.
func derivationsIn(out *regular.Dir, sys process) func(context.Context, matrix.System) (drvdiff.Reader, error) {
	return func(ctx context.Context, of matrix.System) (drvdiff.Reader, error) {
		store := drvdiff.Store(rootOf(sys.environ.get("NIX_REMOTE")) + string(nix.StoreDir))
		texts, err := derivations.ReadFile(ctx, derivations.File(out, string(of)))
		if errors.Is(err, fs.ErrNotExist) {
			return store, nil
		}
		return firstOf{texts, store}, err
	}
}

// firstOf asks one reader after the other.
type firstOf []drvdiff.Reader

func (all firstOf) Derivation(ctx context.Context, path nix.StorePath) ([]byte, error) {
	for _, r := range all {
		text, err := r.Derivation(ctx, path)
		if !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, fs.ErrNotExist
}
