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

// Facts are the facts in a statement that the manifest does not have. They can be empty.
type Facts struct {
	// Settings are the Nix settings of every command of the run.
	Settings nix.Settings
	// Inputs are the flake's inputs as the build used them. An overridden input has its own name and its replacement, if
	// that is known.
	Inputs []flake.Input
	// Builder is the URI of the trusted platform that ran the program, such as a workflow on GitHub Actions:
	// https://github.com/OWNER/REPO/.github/workflows/FILE@REF. Empty means the program itself.
	Builder string
	// Invocation is the URI of the run; empty means the run's ID.
	Invocation string
	// Byproducts are the other files that the run has written.
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
