package derivations

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// File is the file of a system's derivations in the directory of a run's results.
func File(out *regular.Dir, system string) regular.File {
	return regular.File{Dir: out.Sub("derivations"), Base: system + ".export.zst"}
}

// Write makes a file of the stream that export writes. The file is complete, or it is the one before.
func Write(file regular.File, export func(io.Writer) error) error {
	err := file.Replace(0o644, func(w io.Writer) error {
		// Derivations are much alike: the default effort makes a twelfth of them.
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

// ReadFile returns the texts of the derivations in a file. A file that is not there is an [io/fs.ErrNotExist].
func ReadFile(ctx context.Context, file regular.File) (drvdiff.Texts, error) {
	f, err := file.OpenRegular()
	if err != nil {
		return nil, fmt.Errorf("read derivations: %w", err)
	}
	defer f.Close()
	z, err := zstd.NewReader(bufio.NewReader(f), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
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
