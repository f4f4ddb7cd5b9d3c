package nar

import (
	"cmp"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
)

// libraries has some GB of real files on most machines.
const libraries = "/usr/lib"

// One NAR, at each effort.
func BenchmarkCompressor(b *testing.B) {
	for name, tree := range map[string]string{"go": nartest.GOROOT(b), "lib": largestIn(b, libraries)} {
		for _, level := range []int{1, 3, 4, 6, 10} {
			b.Run(fmt.Sprintf("%s/zstd-%d", name, level), func(b *testing.B) {
				benchmarkCompressor(b, Zstd, level, tree)
			})
		}
	}
	small := filepath.Join(nartest.GOROOT(b), "src", "cmd", "compile")
	for _, level := range []int{1, 4, 7} {
		b.Run(fmt.Sprintf("compile/xz-%d", level), func(b *testing.B) {
			benchmarkCompressor(b, XZ, level, small)
		})
	}
}

// Each package of the library and the commands of Go as a NAR: more than a thousand, of 60 kB on average.
func BenchmarkCompressorSmall(b *testing.B) {
	benchmarkCompressor(b, Zstd, 0, directoriesBelow(b, filepath.Join(nartest.GOROOT(b), "src"))...)
}

// All directories of /usr/lib, in both orders of size.
func BenchmarkCompressorMixed(b *testing.B) {
	trees := directoriesIn(b, libraries)
	b.Run("largest-first", func(b *testing.B) { benchmarkCompressor(b, Zstd, 0, trees...) })
	slices.Reverse(trees)
	b.Run("largest-last", func(b *testing.B) { benchmarkCompressor(b, Zstd, 0, trees...) })
}

// The time of the stages of a push: each includes those before it. The program zstd compresses the same bytes from a file.
func BenchmarkCompressorStages(b *testing.B) {
	trees := append(directoriesIn(b, libraries)[1:], nartest.GOROOT(b))
	slices.SortFunc(trees, func(a, b string) int { return cmp.Compare(filepath.Base(a), filepath.Base(b)) })
	b.Run("read", func(b *testing.B) {
		benchmarkTrees(b, trees, func(ctx context.Context, tree string) (Compressed, error) {
			var size counter
			err := DumpTree(ctx, &size, tree)
			return Compressed{NARSize: int64(size)}, err
		})
	})
	b.Run("read-hash", func(b *testing.B) {
		benchmarkTrees(b, trees, func(ctx context.Context, tree string) (Compressed, error) {
			digest := NewDigest()
			err := DumpTree(ctx, digest, tree)
			return Compressed{NARSize: digest.Size}, err
		})
	})
	b.Run("read-hash-compress-hash", func(b *testing.B) { benchmarkCompressor(b, Zstd, 0, trees...) })
	b.Run("read-hash-compress-hash-md5", func(b *testing.B) {
		p, err := NewCompressor(Zstd, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		benchmarkTrees(b, trees, func(ctx context.Context, tree string) (Compressed, error) {
			part := md5.New()
			return p.Compress(ctx,
				func(w io.Writer) error { return DumpTree(ctx, w, tree) },
				func(chunk []byte) error { _, err := part.Write(chunk); return err })
		})
	})
	nars := filepath.Join(b.TempDir(), "nars")
	size := writeNARs(b, nars, trees)
	for _, level := range []string{"-1", "-2", "-3"} {
		b.Run("zstd"+level, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				cmd := exec.CommandContext(b.Context(), "zstd", level, "-T0", "--stdout", "--quiet", nars)
				var packed counter
				cmd.Stdout = &packed
				if err := cmd.Run(); err != nil {
					b.Skipf("needs zstd: %v", err)
				}
				b.ReportMetric(float64(packed)/float64(size), "file/nar")
			}
		})
	}
}

// writeNARs writes the NARs of trees into one file and returns its size.
func writeNARs(b *testing.B, file string, trees []string) (size int64) {
	b.Helper()
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for _, tree := range trees {
		if err := DumpTree(b.Context(), f, tree); err != nil {
			b.Fatal(err)
		}
	}
	info, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}

// benchmarkCompressor compresses trees, and reports the ratio of the sizes of the files and the NARs.
func benchmarkCompressor(b *testing.B, compression Compression, level int, trees ...string) {
	p, err := NewCompressor(compression, level)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	benchmarkTrees(b, trees, func(ctx context.Context, tree string) (Compressed, error) {
		return p.Compress(ctx,
			func(w io.Writer) error { return DumpTree(ctx, w, tree) },
			func([]byte) error { return nil })
	})
}

// benchmarkTrees calls pack for the trees, eight at the same time. It reports the average number of busy processors, and the
// maximum memory of the process.
func benchmarkTrees(b *testing.B, trees []string, pack func(ctx context.Context, tree string) (Compressed, error)) {
	b.Helper()
	var nar, file atomic.Int64
	start, cpu := time.Now(), cpuTime(b)
	for b.Loop() {
		nar.Store(0)
		file.Store(0)
		group, ctx := errgroup.WithContext(b.Context())
		group.SetLimit(8)
		for _, tree := range trees {
			group.Go(func() error {
				packed, err := pack(ctx, tree)
				nar.Add(packed.NARSize)
				file.Add(packed.FileSize)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(nar.Load())
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(time.Since(start)), "processors")
	if file.Load() > 0 {
		b.ReportMetric(float64(file.Load())/1e6, "file-MB")
		b.ReportMetric(float64(file.Load())/float64(nar.Load()), "file/nar")
	}
	b.ReportMetric(peakMemory(b), "peak-MiB")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakMemory returns the maximum memory of this process in MiB, including all earlier benchmarks.
func peakMemory(b *testing.B) float64 {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return float64(usage.Maxrss) / 1024
}

// directoriesIn returns the directories in a directory, those with the largest NARs first.
func directoriesIn(b *testing.B, dir string) []string {
	b.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Skipf("needs %s: %v", dir, err)
	}
	sizes := map[string]int64{}
	var trees []string
	for _, entry := range entries {
		tree := filepath.Join(dir, entry.Name())
		var size counter
		if entry.IsDir() && DumpTree(context.Background(), &size, tree) == nil {
			sizes[tree] = int64(size)
			trees = append(trees, tree)
		}
	}
	if len(trees) == 0 {
		b.Skipf("needs directories in %s", dir)
	}
	slices.SortFunc(trees, func(a, b string) int { return cmp.Compare(sizes[b], sizes[a]) })
	return trees
}

func largestIn(b *testing.B, dir string) string {
	b.Helper()
	return directoriesIn(b, dir)[0]
}

// directoriesBelow returns the directories below a directory that have no subdirectories.
func directoriesBelow(b *testing.B, dir string) []string {
	b.Helper()
	leaves := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			leaves[path] = true
			delete(leaves, filepath.Dir(path))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	var trees []string
	for tree := range leaves {
		trees = append(trees, tree)
	}
	slices.Sort(trees)
	return trees
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
