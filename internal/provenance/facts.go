package provenance

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Facts are what a statement says beyond the manifest. The zero value says nothing more.
type Facts struct {
	// Settings are those of Nix that every command of the run was given.
	Settings nix.Settings
	// Inputs are the flake's, as they took part in the build. One that was overridden is there under its name with
	// what took its place, where that is known.
	Inputs []flake.Input
	// Builder is the URI of what ran the program and is to be trusted for it, such as a workflow on GitHub Actions:
	// https://github.com/OWNER/REPO/.github/workflows/FILE@REF. Empty stands for the program itself, wherever it ran.
	Builder string
	// Invocation is the URI of the run; empty stands for the run's ID.
	Invocation string
	// Byproducts are files that the run has left beside its outputs.
	Byproducts []File
}

// File is a file with its hash.
type File struct {
	Name      string // relative to the directory of the results, with slashes
	MediaType string
	Hash      nix.Hash
}

// HashFile returns a file of a run's results with the SHA-256 of its bytes, for [Facts].Byproducts.
func HashFile(ctx context.Context, out *regular.Dir, name, mediaType string) (File, error) {
	f, err := out.OpenRegular(filepath.FromSlash(name))
	if err != nil {
		return File{}, fmt.Errorf("hash file: %w", err)
	}
	defer f.Close()
	hasher := gonix.NewHasher(gonix.SHA256)
	if _, err := io.Copy(hasher, regular.Until(ctx, f)); err != nil {
		return File{}, fmt.Errorf("hash file: %w", err)
	}
	return File{Name: name, MediaType: mediaType, Hash: hasher.SumHash()}, nil
}
