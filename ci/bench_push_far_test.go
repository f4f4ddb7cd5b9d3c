package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

// Pushes under difficult conditions: a distant server, a large object, nothing to do, a failing server, and a kill.

// smallTrees makes many small directories.
func (m *bench) smallTrees(n int) []string {
	m.Helper()
	trees := make([]string, n)
	for i := range trees {
		trees[i] = m.path("small", fmt.Sprintf("tree-%d", i))
		if err := os.MkdirAll(trees[i], 0o755); err != nil {
			m.Fatal(err)
		}
		text := strings.Repeat(fmt.Sprintf("tree %d\n", i), 500)
		if err := os.WriteFile(filepath.Join(trees[i], "text"), []byte(text), 0o644); err != nil {
			m.Fatal(err)
		}
	}
	return trees
}

// BenchmarkPushFar pushes 2,000 small paths over a link of 20 ms and 1 Gbit/s, in turn with nix copy.
func BenchmarkPushFar(b *testing.B) {
	m := newBench(b)
	store := m.store("store")
	paths := m.addTrees(store, m.smallTrees(2000))
	far := cachixtest.Options{Latency: 20 * time.Millisecond, Bandwidth: 125_000_000}
	var ours, peer times
	requests := 0
	for b.Loop() {
		s := m.newCachix(far)
		ours = append(ours, m.run(m.push(store, s, paths...)))
		if len(s.Paths()) != len(paths) {
			b.Fatalf("%d paths are there", len(s.Paths()))
		}
		requests = len(s.Requests())
		peer = append(peer, m.run(m.copyTo(store, s.PublicURL()+"put/", false, paths)))
		s.Close()
	}
	m.reportTime("push-ms", ours)
	m.reportTime("nix-copy-ms", peer)
	m.reportRatio("x-nix-copy", ours, peer)
	m.ReportMetric(peer.median().Seconds()/ours.median().Seconds(), "x-faster")
	m.ReportMetric(float64(requests)/float64(len(paths)), "requests/path")
}

// BenchmarkPushLarge pushes one NAR of 4 GB that cannot be compressed: the memory of the program's own process.
func BenchmarkPushLarge(b *testing.B) {
	m := newBench(b)
	store := m.store("store")
	dir := m.path("large")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	fill := m.command(nil, "sh", "-euc", `openssl enc -aes-128-ctr -nosalt -pass pass:x -in /dev/zero 2>/dev/null | head -c 4000000000 >"$1"`, "sh", filepath.Join(dir, "random"))
	m.run(fill)
	paths := m.addTrees(store, []string{dir})
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	var took times
	var peak int
	for b.Loop() {
		s := m.newCachix(cachixtest.Options{Trusting: true})
		r := m.measure(m.push(store, s, paths...))
		took, peak = append(took, r.took), max(peak, r.peak)
		s.Close()
	}
	m.reportTime("push-ms", took)
	m.ReportMetric(4000/took.median().Seconds(), "MB/s")
	m.ReportMetric(float64(peak)/1024, "peak-MiB")
	m.ReportMetric(0, "ns/op")
}

// manyObjects writes a binary cache of small objects. Each refers to the previous one and to some older ones.
func (m *bench) manyObjects(n int) string {
	m.Helper()
	dir := m.path("many")
	if err := os.MkdirAll(filepath.Join(dir, "nar"), 0o755); err != nil {
		m.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			m.Fatal(err)
		}
	}
	write("nix-cache-info", "StoreDir: /nix/store\n")
	for i := range n {
		references := ""
		for back := 1; back <= i && back <= 1<<12; back *= 4 {
			references += fmt.Sprintf(" %032d-x-%d", i-back, i-back)
		}
		nar := smallNAR(fmt.Sprintf("object %d", i))
		hash := sha256.Sum256([]byte(nar))
		write(fmt.Sprintf("nar/%d.nar", i), nar)
		write(fmt.Sprintf("%032d.narinfo", i), fmt.Sprintf(`StorePath: /nix/store/%032[1]d-x-%[1]d
URL: nar/%[1]d.nar
Compression: none
FileHash: sha256:%[2]x
FileSize: %[3]d
NarHash: sha256:%[2]x
NarSize: %[3]d
References:%[4]s
`, i, hash, len(nar), cmp.Or(references, " ")))
	}
	return dir
}

// smallNAR is the NAR of a file.
func smallNAR(contents string) string {
	var b strings.Builder
	for _, word := range []string{"nix-archive-1", "(", "type", "regular", "contents", contents, ")"} {
		_ = binary.Write(&b, binary.LittleEndian, uint64(len(word)))
		b.WriteString(word + "\x00\x00\x00\x00\x00\x00\x00"[:-len(word)&7])
	}
	return b.String()
}

// BenchmarkNothingMissing pushes 20,000 paths that the cache already has.
func BenchmarkNothingMissing(b *testing.B) {
	m := newBench(b)
	dir := m.manyObjects(20_000)
	var took times
	var peak, requests int
	for b.Loop() {
		s := m.newCachix(cachixtest.Options{Upstream: func(string) bool { return true }})
		r := m.measure(m.push(m.store("store"), s, "--from", dir))
		took, peak, requests = append(took, r.took), max(peak, r.peak), s.Count("missing")
		s.Close()
	}
	m.reportTime("push-ms", took)
	m.ReportMetric(float64(peak)/1024, "peak-MiB")
	m.ReportMetric(float64(requests), "queries")
	m.ReportMetric(0, "ns/op")
}

// BenchmarkPushMany pushes 2,000 and 20,000 new paths, each of which has to wait for the previous one. It measures memory,
// and whether the cost of a path grows with their number.
func BenchmarkPushMany(b *testing.B) {
	for _, n := range []int{2_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newBench(b)
			dir := m.manyObjects(n)
			var took times
			var peak, requests int
			for b.Loop() {
				s := m.newCachix(cachixtest.Options{})
				r := m.measure(m.push(m.store("store"), s, "--from", dir))
				if got := len(s.Paths()); got != n {
					b.Fatalf("%d paths are there", got)
				}
				took, peak, requests = append(took, r.took), max(peak, r.peak), len(s.Requests())
				s.Close()
			}
			m.reportTime("push-ms", took)
			m.ReportMetric(took.median().Seconds()*1e6/float64(n), "µs/path")
			m.ReportMetric(float64(peak)/1024, "peak-MiB")
			m.ReportMetric(float64(requests)/float64(n), "requests/path")
			m.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPushFaults pushes over a link of 20 ms, with and without failing requests in turn. Half of the failures are
// refusals of an overloaded server, half are reset connections.
func BenchmarkPushFaults(b *testing.B) {
	m := newBench(b)
	store := m.store("store")
	paths := m.addTrees(store, append(m.smallTrees(300), realTrees(b)[3:8]...))
	shares := []float64{0, 0.01, 0.05, 0.20}
	took := make([]times, len(shares))
	for i := 0; b.Loop(); i++ {
		for k, share := range shares {
			s := m.newCachix(cachixtest.Options{Latency: 20 * time.Millisecond, Bandwidth: 125_000_000, Seed: uint64(i), Dir: b.TempDir()})
			if share > 0 {
				s.Misbehave(
					cachixtest.Fault{Probability: share / 2, Status: 500},
					cachixtest.Fault{Probability: share / 2, Reset: true, StallAfter: 1 << 20},
				)
			}
			took[k] = append(took[k], m.run(m.push(store, s, paths...)))
			if got := len(s.Paths()); got != len(paths) {
				b.Fatalf("%d of %d paths are there", got, len(paths))
			}
			s.Close()
		}
	}
	for k, share := range shares {
		m.reportTime(fmt.Sprintf("%.0f%%-ms", share*100), took[k])
		if k > 0 {
			m.ReportMetric(took[k].median().Seconds()/took[0].median().Seconds(), fmt.Sprintf("x-at-%.0f%%", share*100))
		}
	}
	m.ReportMetric(0, "ns/op")
}

// BenchmarkPushResume kills a push at half of its bytes and runs it again. It measures what is sent twice, and the time of
// both compared with an undisturbed push.
func BenchmarkPushResume(b *testing.B) {
	m := newBench(b)
	store := m.store("store")
	paths := m.addTrees(store, append(m.smallTrees(300), realTrees(b)[3:]...))
	var whole, halves times
	var extra float64
	for b.Loop() {
		options := cachixtest.Options{Trusting: true, Latency: 20 * time.Millisecond, Bandwidth: 125_000_000}
		s := m.newCachix(options)
		whole = append(whole, m.run(m.push(store, s, paths...)))
		bytes := uploaded(s)
		s.Close()

		s = m.newCachix(options)
		first := m.killAt(m.push(store, s, paths...), func() bool { return uploaded(s) > bytes/2 })
		there := s.Paths()
		s.Reset()
		halves = append(halves, first+m.run(m.push(store, s, paths...)))
		for _, r := range s.Requests() {
			if r.Endpoint == "complete" && slices.ContainsFunc(there, func(p string) bool { return strings.HasPrefix(filepath.Base(p), r.Hash) }) {
				b.Errorf("%s was there, and sent again", r.Hash)
			}
		}
		if len(s.Paths()) != len(paths) {
			b.Fatalf("%d of %d paths are there", len(s.Paths()), len(paths))
		}
		extra = float64(uploaded(s))/float64(bytes) - 0.5
		s.Close()
	}
	m.reportTime("whole-ms", whole)
	m.reportTime("two-halves-ms", halves)
	m.reportRatio("x-whole", halves, whole)
	m.ReportMetric(100*extra, "%-sent-again")
}

// killAt starts a command, kills it when a condition holds, and returns how long it ran.
func (m *bench) killAt(cmd *exec.Cmd, half func() bool) time.Duration {
	m.Helper()
	var log bytes.Buffer
	cmd.Stderr = &log
	started := time.Now()
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	ctx, over := context.WithCancel(m.Context())
	go func() { _ = cmd.Wait(); over() }()
	for !half() {
		select {
		case <-ctx.Done():
			m.Fatalf("it ended before it could be killed:\n%s", &log)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		m.Fatal(err)
	}
	<-ctx.Done()
	return time.Since(started)
}
