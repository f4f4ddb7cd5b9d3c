package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
)

// Each benchmark runs the program and another one in turn, on stores of the same kind, and reports medians and their ratio.
// docs/benchmarks.md explains the figures.

// bench has the program, and a home and a store for one benchmark.
type bench struct {
	*testing.B
	dir string
	ci  string   // the program
	env []string // of the program and of its peer
}

func newBench(b *testing.B) *bench {
	b.Helper()
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		b.Skip("needs Nix and root: apt-get install nix-bin")
	}
	if binfmt.Find("aarch64-linux") == nil && binfmt.Find("x86_64-linux") == nil {
		b.Skip("needs an emulator for the other system: apt-get install qemu-user-static")
	}
	dir := b.TempDir()
	m := &bench{B: b, dir: dir, ci: filepath.Join(dir, "ci")}
	m.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.path("home"), "LANG=C.UTF-8"}
	if err := os.Mkdir(m.path("home"), 0o755); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", m.ci, ".").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	return m
}

func (m *bench) path(elem ...string) string {
	return filepath.Join(append([]string{m.dir}, elem...)...)
}

// store returns the setting that makes Nix use a store in a directory, which is empty if the name is new.
func (m *bench) store(name string) string { return "NIX_REMOTE=local?root=" + m.path(name) }

// handConfig is a nix.conf that builds the example for both systems on this machine.
const handConfig = `NIX_CONFIG=experimental-features = nix-command flakes
substituters =
max-jobs = auto
build-users-group =
extra-extra-platforms = aarch64-linux x86_64-linux`

// command prepares the program or a peer, with more environment.
func (m *bench) command(env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = m.dir
	cmd.Env = append(slices.Clone(m.env), env...)
	return cmd
}

// shell prepares a script that runs Nix by hand.
func (m *bench) shell(store, script string, args ...string) *exec.Cmd {
	return m.command([]string{store, handConfig}, "sh", append([]string{"-euc", script, "sh"}, args...)...)
}

// release prepares the program's main job on this machine's Nix.
func (m *bench) release(store string, args ...string) *exec.Cmd {
	return m.command([]string{store}, m.ci, append([]string{"release", "--engine", "host", "--contract", "off", "--rebuild=off"}, args...)...)
}

// execute runs a command that must succeed, and returns how long it took.
func (m *bench) run(cmd *exec.Cmd) time.Duration {
	m.Helper()
	var log bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &log
	}
	started := time.Now()
	err := cmd.Run()
	took := time.Since(started)
	if err != nil {
		m.Fatalf("run %q: %v\n%s", cmd.Args, err, &log)
	}
	return took
}

// fixture writes a flake of package example and sets its knobs, which are files.
func (m *bench) fixture(name string, knobs map[string]string) string {
	m.Helper()
	dir := m.path(name)
	if err := example.WriteFixture(dir, name); err != nil {
		m.Fatal(err)
	}
	for knob, value := range knobs {
		if err := os.WriteFile(filepath.Join(dir, knob), []byte(value), 0o644); err != nil {
			m.Fatal(err)
		}
	}
	return dir
}

// salt returns a text that was never built before.
func salt() string { return strconv.FormatInt(time.Now().UnixNano(), 10) }

// times are the durations of one command.
type times []time.Duration

func (t times) median() time.Duration {
	slices.Sort(t)
	return t[len(t)/2]
}

func (m *bench) reportTime(unit string, t times) {
	m.ReportMetric(t.median().Seconds()*1000, unit)
}

func (m *bench) reportRatio(unit string, ours, peer times) {
	m.ReportMetric(0, "ns/op") // the time of both together has no meaning
	m.ReportMetric(ours.median().Seconds()/peer.median().Seconds(), unit)
}

// rounds is how often a short command is timed in one iteration.
const rounds = 5

// bySystem runs by hand what the program does for a flake of two systems: it finds the tree; and for each system the
// derivations and outputs, builds, lists the closure, copies it to a binary cache, and reads that back.
const bySystem = `
flake=$1 out=$2
mkdir -p "$out"
nix flake metadata --json "$flake" >"$out/source.json"
for system in x86_64-linux aarch64-linux; do
	nix eval --json "$flake#packages.$system" --apply 'ps: map (p: [ p.drvPath p.outPath ]) [ ps.open-sesame ps.open-sesame-desktop ]' >"$out/$system.json"
	paths=$(grep -o '/nix/store/[^"]*' "$out/$system.json" | grep -v '\.drv$')
	nix build --no-link "$flake#packages.$system.open-sesame" "$flake#packages.$system.open-sesame-desktop"
	nix path-info --json --recursive $paths >"$out/$system.closure.json"
	nix copy --to "file://$out/cache?compression=zstd" $paths
	nix store verify --no-trust --recursive --store "file://$out/cache" $paths
done`

// allAtOnce runs the fewest commands: one for each step of both systems, without evaluation if Nix has cached it.
const allAtOnce = `
flake=$1 out=$2
mkdir -p "$out"
all=
for system in x86_64-linux aarch64-linux; do
	all="$all $flake#packages.$system.open-sesame $flake#packages.$system.open-sesame-desktop"
done
nix build --no-link $all
paths=$(nix path-info $all)
nix path-info --derivation $all >"$out/derivations"
nix path-info --json --recursive $paths >"$out/closure.json"
nix copy --to "file://$out/cache?compression=zstd" $paths
nix store verify --no-trust --recursive --store "file://$out/cache" $paths`

// Everything is built, and --out is empty.
func BenchmarkReleaseWarm(b *testing.B) {
	m := newBench(b)
	store, flake, out := m.store("store"), m.path("flake"), m.path("out")
	if err := example.Write(flake); err != nil {
		b.Fatal(err)
	}
	fresh := func(cmd *exec.Cmd) time.Duration {
		if err := os.RemoveAll(out); err != nil {
			b.Fatal(err)
		}
		return m.run(cmd)
	}
	ours := func() *exec.Cmd { return m.release(store, "example", "--out", out) }
	bySystem := func() *exec.Cmd { return m.shell(store, bySystem, flake, out) }
	allAtOnce := func() *exec.Cmd { return m.shell(store, allAtOnce, flake, out) }
	for _, cmd := range []func() *exec.Cmd{ours, bySystem, allAtOnce} {
		fresh(cmd()) // builds, and fills Nix's caches
	}
	var t [3]times
	for b.Loop() {
		for range rounds {
			for i, cmd := range []func() *exec.Cmd{ours, bySystem, allAtOnce} {
				t[i] = append(t[i], fresh(cmd()))
			}
		}
	}
	m.reportTime("release-ms", t[0])
	m.reportTime("by-hand-ms", t[1])
	m.reportTime("at-once-ms", t[2])
	m.reportRatio("x-by-hand", t[0], t[1])
	m.reportRatio("x-at-once", t[0], t[2])
}

// The cache of --out has everything. Nix is not on PATH, so that starting an engine would fail the run.
func BenchmarkServed(b *testing.B) {
	m := newBench(b)
	store, flake := m.store("store"), m.path("flake")
	if err := example.Write(flake); err != nil {
		b.Fatal(err)
	}
	m.run(m.release(store, "example", "--out", m.path("out")))
	const build = `
for system in x86_64-linux aarch64-linux; do
	all="${all-} $1#packages.$system.open-sesame $1#packages.$system.open-sesame-desktop"
done
nix build --no-link $all`
	m.run(m.shell(store, build, flake))
	var ours, peer times
	for b.Loop() {
		for range rounds {
			cmd := m.release(store, "example", "--out", m.path("out"))
			cmd.Env = append(cmd.Env, "PATH="+m.path("nothing"))
			ours = append(ours, m.run(cmd))
			peer = append(peer, m.run(m.shell(store, build, flake)))
		}
	}
	m.reportTime("served-ms", ours)
	m.reportTime("nix-build-ms", peer)
	m.reportRatio("x-nix-build", ours, peer)
}

// Four builds of three seconds each, of two systems, from an empty store, compared with the same builds in sequence.
func BenchmarkEmptyStore(b *testing.B) {
	m := newBench(b)
	const inTurn = `
for system in x86_64-linux aarch64-linux; do
	for package in open-sesame open-sesame-desktop; do
		nix build --no-link "$1#packages.$system.$package"
	done
done`
	var ours, peer times
	for i := 0; b.Loop(); i++ {
		flake := m.fixture("slow", map[string]string{"salt": salt()})
		ours = append(ours, m.run(m.release(m.store(fmt.Sprint("ours", i)),
			flake, "--out", m.path(fmt.Sprint("out", i)), "--substituter", none, "--served-by", none)))
		peer = append(peer, m.run(m.shell(m.store(fmt.Sprint("peer", i)), inTurn, flake)))
	}
	m.reportTime("release-ms", ours)
	m.reportTime("in-turn-ms", peer)
	m.reportRatio("x-in-turn", ours, peer)
}

// A build that writes a log of 200 MB: the memory of the program, and its time compared with Nix alone.
func BenchmarkPeakMemory(b *testing.B) {
	m := newBench(b)
	const logBytes = 200_000_000
	// The package's dependencies are built before, with a short log.
	flake := m.fixture("slow", nil)
	build := func(system string) (ours, peer *exec.Cmd) {
		ours = m.release(m.store("store"), flake, "--out", m.path("out"), "--substituter", none, "--served-by", none,
			"--system", system, "--package", "open-sesame")
		return ours, m.shell(m.store("store"), `nix build -L --no-link "$1" >/dev/null 2>&1`, flake+"#packages."+system+".open-sesame")
	}
	system, err := setup.NativeSystem()
	if err != nil {
		b.Fatal(err)
	}
	first, _ := build(string(system))
	m.run(first)
	var peak int
	var ours, peer times
	for b.Loop() {
		m.fixture("slow", map[string]string{"salt": salt(), "log-bytes": fmt.Sprint(logBytes)})
		release, _ := build(string(system))
		kib, took := m.runWatched(release)
		peak, ours = max(peak, kib), append(ours, took)
		m.wantLog(logBytes)
		m.fixture("slow", map[string]string{"salt": salt(), "log-bytes": fmt.Sprint(logBytes)})
		_, nix := build(string(system))
		peer = append(peer, m.run(nix))
	}
	m.ReportMetric(float64(peak)/1024, "peak-MiB")
	m.reportTime("release-ms", ours)
	m.reportTime("nix-build-ms", peer)
	m.reportRatio("x-nix-build", ours, peer)
}

// runWatched runs a command and returns the peak memory of its process in KiB, and how long it took. The usage that wait4
// returns includes children. It calls each of eachSecond once a second.
func (m *bench) runWatched(cmd *exec.Cmd, eachSecond ...func()) (peak int, took time.Duration) {
	m.Helper()
	var log bytes.Buffer
	cmd.Stderr = &log
	started := time.Now()
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-second.C:
			for _, f := range eachSecond {
				f()
			}
		case err := <-done:
			took = time.Since(started)
			if err != nil {
				m.Fatalf("run %q: %v\n%s", cmd.Args, err, &log)
			}
			return peak, took
		case <-time.After(20 * time.Millisecond):
			peak = max(peak, highWater(cmd.Process.Pid))
		}
	}
}

// highWater returns the peak resident set of a process in KiB; 0 if it ended.
func highWater(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, _, _ := strings.Cut(rest, "kB")
	n, _ := strconv.Atoi(strings.TrimSpace(kib)) // a process that is about to end has no such line
	return n
}

// wantLog checks that there is a log of that size, and removes it.
func (m *bench) wantLog(size int64) {
	m.Helper()
	logs, err := filepath.Glob(m.path("out", "logs", "*", "*", "open-sesame-*.log"))
	if err != nil {
		m.Fatal(err)
	}
	for _, log := range logs {
		info, err := os.Stat(log)
		if err != nil {
			m.Fatal(err)
		}
		if info.Size() >= size {
			if err := os.Remove(log); err != nil {
				m.Fatal(err)
			}
			return
		}
	}
	m.Fatalf("no log of %d bytes among %q", size, logs)
}
