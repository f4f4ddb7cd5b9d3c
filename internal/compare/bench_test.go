package compare

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// benchDirVariable names a directory for the two large files, such as one on a tmpfs.
const benchDirVariable = "COMPARE_BENCH_DIR"

// bigNAR writes the NAR of one file that cannot be compressed. If changed is set, one byte differs, at 7/8 of the file.
func bigNAR(b *testing.B, file string, size int, flip bool) {
	b.Helper()
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	head := narWords(narMagic, "(", "type", "regular", "contents")
	head = binary.LittleEndian.AppendUint64(head, uint64(size))
	if _, err := f.Write(head); err != nil {
		b.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, 1<<20)
	for at := 0; at < size; at += len(buf) {
		_, _ = random.Read(buf)
		if flip && at == size/8*7 {
			buf[0] ^= 1
		}
		if _, err := f.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := f.Write(narWords(")")); err != nil {
		b.Fatal(err)
	}
}

func narWords(words ...string) []byte {
	var out []byte
	for _, w := range words {
		out = binary.LittleEndian.AppendUint64(out, uint64(len(w)))
		out = append(out, w...)
		out = append(out, make([]byte, -len(w)&7)...)
	}
	return out
}

func benchDir(b *testing.B) string {
	if dir := os.Getenv(benchDirVariable); dir != "" {
		dir, err := os.MkdirTemp(dir, "compare-*")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	return b.TempDir()
}

// TestMain is also the program that BenchmarkCompareNARs starts to measure its memory.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "compare" {
		os.Exit(compareFiles(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func compareFiles(a, b string) int {
	r, err := Trees(context.Background(), NARFile(regular.AnyFile(a)), NARFile(regular.AnyFile(b)), Options{})
	if err == nil {
		_ = r.String()
	}
	switch {
	case err != nil:
		return 1
	case r.Same:
		return 0
	}
	return 3
}

// peerMemory is the memory limit of diffoscope in bytes. Without one, it needs more than 24 GiB for two NARs of 1 GiB.
const peerMemory = 10 << 30

// BenchmarkCompareNARs compares two NARs that differ in one byte, each time in its own process. In turn with it, it runs
// diffoscope if that is installed: apt-get install --no-install-recommends diffoscope-minimal.
// Memory is the maximum resident set size of the process. If diffoscope runs out of memory, its time ends there.
func BenchmarkCompareNARs(b *testing.B) {
	for _, size := range []int{64 << 20, 1 << 30} {
		b.Run(fmt.Sprintf("%dMiB", size>>20), func(b *testing.B) { benchmarkNARs(b, size) })
	}
}

func benchmarkNARs(b *testing.B, size int) {
	dir := benchDir(b)
	left, right := filepath.Join(dir, "a.nar"), filepath.Join(dir, "b.nar")
	bigNAR(b, left, size, false)
	bigNAR(b, right, size, true)
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	_, err = exec.LookPath("diffoscope")
	hasPeer := err == nil
	var ours, theirs cost
	finished := 1.0
	b.SetBytes(2 * int64(size))
	for b.Loop() {
		if code := ours.add(b, self, "compare", left, right); code != 3 {
			b.Fatalf("exit code %d", code)
		}
		if !hasPeer {
			continue
		}
		b.StopTimer()
		limited := fmt.Sprintf("--as=%d", peerMemory)
		if code := theirs.add(b, "prlimit", limited, "diffoscope", "--no-progress", "--text", os.DevNull, left, right); code != 1 {
			finished = 0
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(ours.memory)/(1<<20), "MiB")
	if !hasPeer {
		b.Log("diffoscope is not installed; nothing to compare with")
		return
	}
	b.ReportMetric(theirs.time.Seconds()/float64(b.N), "diffoscope-s/op")
	b.ReportMetric(float64(theirs.memory)/(1<<20), "diffoscope-MiB")
	b.ReportMetric(finished, "diffoscope-finished")
	b.ReportMetric(float64(theirs.time)/float64(ours.time), "diffoscope/ours")
}

// cost is the time and memory of several runs of a program.
type cost struct {
	time   time.Duration // of all of them
	memory int64         // bytes, the most of any
}

// add runs a program and returns its exit code.
func (c *cost) add(b *testing.B, program string, args ...string) int {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), program, args...)
	began := time.Now()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		b.Fatal(err)
	}
	c.time += time.Since(began)
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		b.Fatal("this system does not report the memory of a process")
	}
	c.memory = max(c.memory, usage.Maxrss<<10)
	return cmd.ProcessState.ExitCode()
}

// BenchmarkCompareTrees compares two copies of the Go distribution's sources, some ten thousand small files.
func BenchmarkCompareTrees(b *testing.B) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skipf("needs GOROOT: %v", err)
	}
	tree := OnDisk(filepath.Join(strings.TrimSpace(string(out)), "src"))
	for b.Loop() {
		r, err := Trees(b.Context(), tree, tree, Options{})
		if err != nil || !r.Same {
			b.Fatal(err)
		}
		b.ReportMetric(float64(r.Outputs[0].Files), "files/op")
	}
}
