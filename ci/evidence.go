package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// evidence keeps NARs that should be the same and are not in a directory, each as NAME.nar.zst.
// It implements [pipelines.Evidence].
type evidence struct{ dir string }

func (e evidence) KeepExport(ctx context.Context, name string, stream io.Reader) (string, error) {
	return e.write(name, func(w io.Writer) error {
		objects := 0
		err := binarycache.ReadExport(regular.Until(ctx, stream), w, func(binarycache.Object) error {
			objects++
			return nil
		})
		if err == nil && objects != 1 {
			err = fmt.Errorf("%d store objects were exported, not one", objects)
		}
		return err
	})
}

func (e evidence) KeepNAR(ctx context.Context, name string, dump func(context.Context, io.Writer) error) (string, error) {
	return e.write(name, func(w io.Writer) error { return dump(ctx, w) })
}

// write writes a file beside and renames it: a NAR is whole, or not there.
func (e evidence) write(name string, fill func(io.Writer) error) (file string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep %s in %s: %w", name, e.dir, err)
		}
	}()
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(e.dir, ".incoming-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) // a no-op once it is renamed
	defer f.Close()
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return "", err
	}
	if err := errors.Join(fill(z), z.Close(), f.Chmod(0o644), f.Close()); err != nil {
		return "", err
	}
	file = filepath.Join(e.dir, name+".nar.zst")
	return file, os.Rename(f.Name(), file)
}

func (e evidence) Compare(ctx context.Context, first, second string) (lines []string, page string, err error) {
	report, err := compare.Trees(ctx, compare.NARFile(first), compare.NARFile(second), compareOptions())
	if err != nil {
		return nil, "", err
	}
	page = strings.TrimSuffix(second, ".nar.zst") + ".html"
	return differences(report), page, writePage(page, report)
}

// differences says of the first few files in what they differ, a line each.
func differences(report *compare.Report) []string {
	const most = 5
	var lines []string
	total := 0
	for _, o := range report.Outputs {
		total += len(o.Differences) + o.Unlisted
		for _, d := range o.Differences {
			if len(lines) < most {
				line := d.Title() + ": " + d.Summary()
				for i, cause := range d.Causes {
					line += map[bool]string{true: ", likely ", false: ", "}[i == 0] + string(cause)
				}
				lines = append(lines, line)
			}
		}
	}
	if more := total - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}
