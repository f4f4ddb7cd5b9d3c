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
