package binarycache

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sync/errgroup"
)

// each does something with each of the trees, some at a time.
func each(t testing.TB, atATime int, trees []string, do func(context.Context, string) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(atATime)
	for _, tree := range trees {
		group.Go(func() error { return do(ctx, tree) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// peakMemory returns the most MiB that this process has had in memory.
func peakMemory(t testing.TB) float64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if match == nil {
		t.Fatal("no VmHWM in /proc/self/status")
	}
	kib, err := strconv.Atoi(string(match[1]))
	if err != nil {
		t.Fatal(err)
	}
	return float64(kib) / 1024
}
