package binarycache

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
)

// benchmarkPress packs trees again and again, some at a time, and reports how much smaller they become.
func benchmarkPress(b *testing.B, o PressOptions, atATime int, trees ...string) {
	var nar, file atomic.Int64
	for b.Loop() {
		nar.Store(0)
		file.Store(0)
		p, err := NewPress(o)
		if err != nil {
			b.Fatal(err)
		}
		each(b, atATime, trees, func(ctx context.Context, tree string) error {
			packed, err := p.Pack(ctx,
				func(w io.Writer) error { return DumpTree(ctx, w, tree) },
				func([]byte) error { return nil })
			nar.Add(packed.NARSize)
			file.Add(packed.FileSize)
			return err
		})
		p.Close()
	}
	b.SetBytes(nar.Load())
	b.ReportMetric(float64(file.Load())/1e6, "MB")
	b.ReportMetric(float64(nar.Load())/float64(file.Load()), "ratio")
	b.ReportMetric(peakMemory(b), "peak-MiB")
}

func BenchmarkPress(b *testing.B) {
	trees := map[string]string{"go": runtime.GOROOT(), "lib": "/usr/lib/x86_64-linux-gnu"}
	for _, name := range []string{"go", "lib"} {
		if _, err := os.Stat(trees[name]); err != nil {
			continue
		}
		for _, level := range []int{1, 2, 3, 6, 10} {
			b.Run(fmt.Sprintf("%s/zstd-%d", name, level), func(b *testing.B) {
				benchmarkPress(b, PressOptions{Level: level}, 1, trees[name])
			})
		}
	}
}

var _ = filepath.Join
