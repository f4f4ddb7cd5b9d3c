// Package derivations stores the derivations of a run in a file, so that another machine can compare its own with them. A
// file is a stream of nix-store --export, compressed by zstd.
package derivations

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// File is the file of a system's derivations in the directory of a run's results.
func File(out *regular.Dir, system string) regular.File {
	return regular.File{Dir: out.Sub("derivations"), Base: system + ".export.zst"}
}

// Write writes the stream of export to a file, atomically.
func Write(file regular.File, export func(io.Writer) error) error {
	err := file.Replace(0o644, func(w io.Writer) error {
		// Derivations are similar to each other: the default level compresses them to a twelfth.
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
		if err != nil {
			return err
		}
		return errors.Join(export(z), z.Close())
	})
	if err != nil {
		return fmt.Errorf("write derivations %s: %w", file.Path(), err)
	}
	return nil
}

// ReadFile returns the texts of the derivations in a file. Where there is no file, the error is an [io/fs.ErrNotExist].
func ReadFile(ctx context.Context, file regular.File) (drvdiff.Texts, error) {
	f, err := file.OpenRegular()
	if err != nil {
		return nil, fmt.Errorf("read derivations: %w", err)
	}
	z, err := nar.DecompressFile(f, nar.Zstd)
	if err != nil {
		return nil, fmt.Errorf("read derivations %s: %w", file.Path(), err)
	}
	defer z.Close()
	texts, err := readTexts(ctx, z)
	if err != nil {
		return nil, fmt.Errorf("read derivations %s: %w", file.Path(), err)
	}
	return texts, nil
}

// Limits for a file from an unknown author.
const (
	maxDerivations = 1 << 17
	maxText        = 16 << 20  // of one derivation
	maxAllTexts    = 512 << 20 // of all in memory
)

// readTexts reads a stream of nix-store --export to its end, and returns the texts of the derivations in it. Package
// drvdiff checks that a text belongs to its path.
func readTexts(ctx context.Context, stream io.Reader) (drvdiff.Texts, error) {
	texts, size := drvdiff.Texts{}, 0
	var text []byte // of the current object; nil where it is not a plain file
	read := func(r *nar.Reader) error {
		text = nil
		root, err := r.Next()
		if err != nil || root.Type != nar.Regular || root.Executable {
			return err
		}
		if root.Size > maxText {
			return fmt.Errorf("a derivation of more than %d MiB", maxText>>20)
		}
		text, err = io.ReadAll(r)
		return err
	}
	err := nar.ReadExport(regular.Until(ctx, stream), read, func(o nar.Object) error {
		if text == nil || !o.Path.IsDerivation() {
			return fmt.Errorf("%s is not a derivation", o.Path)
		}
		if size += len(text); size > maxAllTexts {
			return fmt.Errorf("more than %d MiB of derivations", maxAllTexts>>20)
		}
		if len(texts) == maxDerivations {
			return fmt.Errorf("more than %d derivations", maxDerivations)
		}
		texts[o.Path] = text
		return nil
	})
	return texts, err
}
