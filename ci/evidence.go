package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// evidence keeps the NARs of builds that differ in a directory, each as NAME.nar.zst.
// It implements [run.Evidence].
type evidence struct {
	dir     *regular.Dir
	now     func() time.Time
	started time.Time // the run
}

func newEvidence(dir *regular.Dir, now func() time.Time) evidence { return evidence{dir, now, now()} }

func (e evidence) KeepExport(ctx context.Context, name string, stream io.Reader) (string, error) {
	return e.write(name, func(w io.Writer) error {
		objects := 0
		err := nar.ReadExport(regular.Until(ctx, stream), nar.CopyTo(w), func(nar.Object) error {
			objects++
			return nil
		})
		if err == nil && objects != 1 {
			err = fmt.Errorf("%d store objects were exported, want one", objects)
		}
		return err
	})
}

func (e evidence) KeepNAR(ctx context.Context, name string, dump func(context.Context, io.Writer) error) (string, error) {
	return e.write(name, func(w io.Writer) error { return dump(ctx, w) })
}

// write writes a NAR atomically.
func (e evidence) write(name string, fill func(io.Writer) error) (file string, err error) {
	nar := e.nar(name)
	err = nar.Replace(0o644, func(w io.Writer) error {
		z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		return errors.Join(fill(z), z.Close())
	})
	if err != nil {
		return "", fmt.Errorf("keep %s in %s: %w", name, e.dir.Name(), err)
	}
	return nar.Path(), nil
}

func (e evidence) nar(name string) regular.File {
	return regular.File{Dir: e.dir, Base: name + narSuffix}
}

const narSuffix = ".nar.zst"

// Compare compares two NARs that were kept here.
func (e evidence) Compare(ctx context.Context, first, second string) (lines []string, page string, err error) {
	nar := func(path string) compare.Tree {
		return compare.NARFile(e.nar(strings.TrimSuffix(filepath.Base(path), narSuffix)))
	}
	report, err := compare.Trees(ctx, nar(first), nar(second), compare.Options{
		SameDerivation: true, Run: compare.Window{From: e.started, To: e.now()},
	})
	if err != nil {
		return nil, "", err
	}
	file := regular.File{Dir: e.dir, Base: strings.TrimSuffix(filepath.Base(second), narSuffix) + ".html"}
	return differences(report), file.Path(), writePage(file, report)
}

// differences returns a line for each of the first files that differ.
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
