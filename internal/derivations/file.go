package derivations

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// File is the name of the file of a system's derivations in the directory of a run's results.
func File(out, system string) string { return filepath.Join(out, "derivations", system+".export.zst") }

// Write makes a file of the stream that export writes: beside and renamed, so that it is whole or the one before.
func Write(file string, export func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write derivations %s: %w", file, err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // a no-op once it is renamed
	defer f.Close()
	// Derivations are much alike: the default effort makes a twelfth of them.
	z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	if err := errors.Join(export(z), z.Close(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// ReadFile returns the texts of the derivations in a file. A file that is not there is an [io/fs.ErrNotExist].
func ReadFile(ctx context.Context, file string) (drvdiff.Texts, error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read derivations: %w", err)
	}
	defer f.Close()
	z, err := zstd.NewReader(bufio.NewReader(f), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, fmt.Errorf("read derivations %s: %w", file, err)
	}
	defer z.Close()
	texts, err := readTexts(ctx, z)
	if err != nil {
		return nil, fmt.Errorf("read derivations %s: %w", file, err)
	}
	return texts, nil
}
