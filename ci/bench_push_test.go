package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

// These benchmarks add the machine's own files to a store, push them to a server in this process, and copy the same paths
// with Nix. docs/benchmarks.md explains the figures.

// largestTree limits the size of a directory, so that a run does not take many minutes.
const largestTree = 800 << 20

// realTrees returns directories of programs and libraries, the largest first: a GB or two on most machines.
func realTrees(b *testing.B) []string {
	b.Helper()
	const libraries = "/usr/lib"
	entries, err := os.ReadDir(libraries)
	if err != nil {
		b.Skipf("needs %s: %v", libraries, err)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	sizes := map[string]int64{}
	for _, tree := range append(directories(libraries, entries), strings.TrimSpace(string(goroot))) {
		if _, size, err := nar.HashTree(b.Context(), tree); err == nil && size < largestTree {
			sizes[tree] = size
		}
	}
	return slices.SortedFunc(maps.Keys(sizes), func(x, y string) int { return cmp.Compare(sizes[y], sizes[x]) })
}

func directories(parent string, entries []fs.DirEntry) []string {
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(parent, e.Name()))
		}
	}
	return dirs
}

// addTrees adds directories to a store of the benchmark's own, and returns their store paths.
func (m *bench) addTrees(store string, trees []string) (paths []string) {
	m.Helper()
	for batch := range slices.Chunk(trees, 500) {
		cmd := m.command([]string{store, handConfig}, "nix-store", append([]string{"--add"}, batch...)...)
		out, err := cmd.Output()
		if err != nil {
			m.Fatalf("add to store: %v", err)
		}
		paths = append(paths, strings.Fields(string(out))...)
	}
	return paths
}

// newCachix starts a server in this process.
func (m *bench) newCachix(o cachixtest.Options) *cachixtest.Server {
	m.Helper()
	s := cachixtest.New(o)
	m.Cleanup(s.Close)
	return s
}

// push prepares the program's push to a server.
func (m *bench) push(store string, s *cachixtest.Server, args ...string) *exec.Cmd {
	return m.command([]string{store, handConfig, defaultSecret + "=" + cachixtest.TestToken}, m.ci,
		append([]string{"push", "--cachix-url", s.APIURL(), "--confirm=false", "--unrecorded"}, args...)...) // a trusting server keeps no NARs
}

// copyTo prepares Nix's copy to another binary cache, with zstd.
func (m *bench) copyTo(store, to string, parallel bool, paths []string) *exec.Cmd {
	to += fmt.Sprintf("?compression=zstd&parallel-compression=%t", parallel)
	return m.command([]string{store, handConfig}, "nix", append([]string{"copy", "--no-check-sigs", "--to", to}, paths...)...)
}

// measured is one run of a command.
type measured struct {
	took     time.Duration
	worst    float64 // processors used, with those of the server in this process, in the least busy second
	peak     int     // KiB
	uploaded int64   // compressed bytes
}

// measure runs a command and measures its use of the machine.
func (m *bench) measure(cmd *exec.Cmd) measured {
	m.Helper()
	var used []time.Duration // of both, second by second
	peak, took := m.runWatched(cmd, func() { used = append(used, m.timeOf(cmd.Process.Pid)+m.ownTime()) })
	r := measured{took: took, peak: peak}
	for i := 1; i < len(used); i++ {
		if now := (used[i] - used[i-1]).Seconds(); i == 1 || now < r.worst {
			r.worst = now
		}
	}
	return r
}

// ownTime returns the processor time of this process.
func (m *bench) ownTime() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		m.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// timeOf returns the processor time of a process: fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
func (m *bench) timeOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0 // it ended
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			m.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// uploaded adds up the bytes that a server was sent.
func uploaded(s *cachixtest.Server) (bytes int64) {
	for _, r := range s.Requests() {
		if r.Endpoint == "part" || r.Endpoint == "put" {
			bytes += r.Bytes
		}
	}
	return bytes
}

// dirSize returns the bytes of the files in a directory.
func dirSize(b *testing.B, dir string) (size int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		size += info.Size()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return size
}

// BenchmarkPush pushes at least a GB over loopback, with four efforts of compression, in turn with four ways of nix copy.
// The server verifies nothing, so that it uses little processor time.
func BenchmarkPush(b *testing.B) {
	m := newBench(b)
	store := m.store("store")
	paths := m.addTrees(store, realTrees(b))
	toServer := func(make func(*cachixtest.Server) *exec.Cmd) measured {
		s := m.newCachix(cachixtest.Options{Trusting: true})
		defer s.Close()
		r := m.measure(make(s))
		r.uploaded = uploaded(s)
		return r
	}
	toCachix := func(level string) func() measured {
		return func() measured {
			return toServer(func(s *cachixtest.Server) *exec.Cmd {
				return m.push(store, s, append([]string{"--compression-level", level}, paths...)...)
			})
		}
	}
	toFiles := func(parallel bool) measured {
		dir := m.path("cache")
		defer os.RemoveAll(dir)
		r := m.measure(m.copyTo(store, "file://"+dir, parallel, paths))
		r.uploaded = dirSize(b, dir)
		return r
	}
	ways := []struct {
		name string
		run  func() measured
	}{
		{"push-1", toCachix("1")},
		{"push-3", toCachix("3")},
		{"push-4", toCachix("4")},
		{"push-6", toCachix("6")},
		{"file", func() measured { return toFiles(false) }},
		{"file-parallel", func() measured { return toFiles(true) }},
		{"http", func() measured {
			return toServer(func(s *cachixtest.Server) *exec.Cmd { return m.copyTo(store, s.PublicURL()+"put/", false, paths) })
		}},
		{"http-parallel", func() measured {
			return toServer(func(s *cachixtest.Server) *exec.Cmd { return m.copyTo(store, s.PublicURL()+"put/", true, paths) })
		}},
	}
	took := make([]times, len(ways))
	last := make([]measured, len(ways))
	for b.Loop() {
		for i, way := range ways {
			last[i] = way.run()
			took[i] = append(took[i], last[i].took)
		}
	}
	const peers = 4 // the first of them
	fastest := took[peers]
	for _, t := range took[peers+1:] {
		if t.median() < fastest.median() {
			fastest = t
		}
	}
	for i, way := range ways {
		m.reportTime(way.name+"-ms", took[i])
	}
	for i, way := range ways[:peers] {
		name := way.name
		m.ReportMetric(fastest.median().Seconds()/took[i].median().Seconds(), name+"-x-faster")
		m.ReportMetric(float64(last[i].uploaded)/float64(last[peers].uploaded), name+"-x-size")
		m.ReportMetric(last[i].worst, name+"-processors-at-worst")
		m.ReportMetric(float64(last[i].peak)/1024, name+"-peak-MiB")
	}
	m.ReportMetric(0, "ns/op")
}
