package host

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	makeRootTimeout = 10 * time.Minute // once; it downloads packages
	inRootTimeout   = 3 * time.Minute
)

// TestOnEachVersionOfNix runs the contract suite and releases on the oldest version of Nix that is
// supported, on a later one and on the newest. Each has its own root file system, so they share no store and no
// configuration, and no network.
func TestOnEachVersionOfNix(t *testing.T) {
	if os.Getenv("OPEN_SESAME_CI_ALL") == "" {
		t.Skip("makes root file systems, and downloads packages for them; set OPEN_SESAME_CI_ALL=1")
	}
	dir := t.TempDir()
	programs := sync.OnceValue(func() error { return buildPrograms(dir) })
	for _, v := range []struct{ nix, suite string }{{"2.8", "bookworm"}, {"2.26", "trixie"}, {"2.34", "sid"}} {
		t.Run(v.nix, func(t *testing.T) {
			t.Parallel()
			r := testRoot{dir: nixRoot(t, v.suite), tests: dir}
			if out, err := r.run(t, "true"); err != nil {
				t.Skipf("a root cannot be entered here: %v\n%s", err, out)
			}
			if err := programs(); err != nil {
				t.Fatal(err)
			}
			t.Run("contract", func(t *testing.T) { r.contract(t) })
			t.Run("doctor", func(t *testing.T) { r.doctor(t, v.nix) })
			t.Run("doctor --fix", func(t *testing.T) { r.doctorFix(t) })
			t.Run("release", func(t *testing.T) { r.release(t) })
			t.Run("release of Open Sesame's shape", func(t *testing.T) { r.script(t, "upstream") })
			t.Run("owner's nix.conf", func(t *testing.T) { r.ownersConfiguration(t) })
			t.Run("evaluation attacks", func(t *testing.T) { r.evaluationAttacks(t, v.nix) })
			t.Run("import from derivation", func(t *testing.T) { r.importFromDerivation(t) })
			t.Run("changed inputs", func(t *testing.T) { r.changedInputs(t) })
		})
	}
}

// buildPrograms builds without C, since a root may have another C library.
func buildPrograms(dir string) error {
	for _, args := range [][]string{
		{"test", "-c", "-o", filepath.Join(dir, "host.test"), "."},
		{"build", "-o", filepath.Join(dir, "ci"), "../../../ci"},
		{"build", "-o", filepath.Join(dir, "serve"), "../../../cachix/cachixtest/serve"},
		{"test", "-c", "-o", filepath.Join(dir, "ci.test"), "../../../ci"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("run go %s: %v\n%s", args[0], err, out)
		}
	}
	return errors.Join(
		os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS("../../../ci/testdata")),
		os.CopyFS(filepath.Join(dir, "opensesame"), os.DirFS("../../../ci/opensesame")),
	)
}

// nixRoot returns the root of a Debian release, and makes it if it does not exist.
func nixRoot(t *testing.T, suite string) string {
	ctx, cancel := context.WithTimeout(t.Context(), makeRootTimeout)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "../../../.ci/nix-root", suite)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("no root of Debian %s: %v\n%s", suite, err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// testRoot is a root file system and the directory that is at /tests in it.
type testRoot struct{ dir, tests string }

//go:embed testdata/enter-root.sh
var enterRoot string

// execute runs a command in a fresh copy of the root, and returns all that it prints.
func (r testRoot) run(t *testing.T, command ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), inRootTimeout)
	defer cancel()
	args := append([]string{
		"--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private",
		"bash", "-c", enterRoot, "enter-root", r.dir, t.TempDir(), r.tests,
	}, command...)
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var (
	started  = regexp.MustCompile(`^=== (?:RUN|CONT|NAME) +TestContract/(\w+)`)
	finished = regexp.MustCompile(`^ +--- (PASS|FAIL|SKIP): TestContract/(\w+)`)
)

// contract reports each check of the suite as a subtest, including skipped ones.
func (r testRoot) contract(t *testing.T) {
	out, err := r.run(t, "/tests/host.test", "-test.run", "^TestContract$", "-test.v")
	message, current, checks := map[string]string{}, "", 0
	for line := range strings.Lines(out) {
		if m := started.FindStringSubmatch(line); m != nil {
			current = m[1]
		} else if m := finished.FindStringSubmatch(line); m != nil {
			checks++
			t.Run(m[2], func(t *testing.T) {
				switch m[1] {
				case "SKIP":
					t.Skip(message[m[2]])
				case "FAIL":
					t.Error(message[m[2]])
				}
			})
		} else {
			message[current] += line
		}
	}
	if err != nil || checks == 0 {
		t.Errorf("run contract suite: %v, %d checks\n%s", err, checks, out)
	}
}

func (r testRoot) doctor(t *testing.T, version string) {
	// Its exit code also depends on emulation and container engines.
	out, _ := r.run(t, "/tests/ci", "doctor")
	if want := regexp.MustCompile(`(?m)^ok +nix +nix \(Nix\) ` + regexp.QuoteMeta(version) + `\.`); !want.MatchString(out) {
		t.Errorf("doctor prints\n%s\nwant nix to be ok", out)
	}
}

//go:embed testdata/doctor-fix.sh
var doctorFix string

func (r testRoot) doctorFix(t *testing.T) {
	native, foreign := systems()
	if binfmt.Find(foreign) == nil {
		t.Skipf("there is no emulator for %s, which doctor --fix would install: the root has no network", foreign)
	}
	out, err := r.run(t, "bash", "-c", doctorFix, "bash", string(native))
	for _, want := range []string{
		`(?s)hint: /tests/ci doctor --fix\n.*exit code 1\ndoctor --fix:\nadding the group nixbld and 32 users for builders …\n`,
		`(?s)\nnixbld:x:[0-9]+:nixbld1,.*,nixbld32\nuid=.*sandbox on.*no users added\n.*\nnixbld:x:[0-9]+:nixbld1,.*,nixbld32\n$`,
	} {
		if err != nil || !regexp.MustCompile(want).MatchString(out) {
			t.Fatalf("%v, want %s\n%s", err, want, out)
		}
	}
}

func (r testRoot) release(t *testing.T) {
	args, good := []string{"/tests/ci", "release", "example", "--engine", "host", "--out", "/root/out"}, "4 of 4 packages good"
	if native, foreign := systems(); binfmt.Find(foreign) == nil {
		t.Logf("%s is left out: no emulator is registered", foreign)
		args, good = append(args, "--system", string(native)), "2 of 2 packages good"
	}
	out, err := r.run(t, args...)
	if err != nil || !strings.Contains(out, good) {
		t.Errorf("release: %v, want %q\n%s", err, good, out)
	}
}

// script runs one of the scripts of the command's own tests. Its stores are not below a directory that everyone may
// write to, which Nix 2.34 refuses.
func (r testRoot) script(t *testing.T, name string) {
	out, err := r.run(t, "bash", "-c", `mkdir /root/tmp && export TMPDIR=/root/tmp && cd /tests && ./ci.test -test.v -test.run "$1"`,
		"sh", "^TestScripts$/^"+name+"$")
	if err != nil || !strings.Contains(out, "--- PASS: TestScripts/"+name) {
		t.Errorf("script %s: %v\n%s", name, err, out)
	}
}

// ownersSettings are settings that the nix.conf of a machine may have.
const ownersSettings = `restrict-eval = true
pure-eval = true
plugin-files = /nonexistent/plugin.so
post-build-hook = /nonexistent/hook
pre-build-hook = /nonexistent/hook
experimental-features = auto-allocate-uids
auto-allocate-uids = true
substitute = false
max-jobs = 0
builders = ssh://nowhere.example x86_64-linux
print-missing = false
use-registries = false
allow-import-from-derivation = false
log-lines = 0
min-free = 1000000000000000
max-free = 10000000000000000
keep-failed = true
use-xdg-base-directories = true
trace-function-calls = true
`

func (r testRoot) ownersConfiguration(t *testing.T) {
	script := `mkdir -p /etc/nix; printf %s "$1" >/etc/nix/nix.conf
		exec /tests/ci release example --engine host --system "$2" --out /root/out`
	native, _ := systems()
	out, err := r.run(t, "bash", "-c", script, "sh", ownersSettings, string(native))
	if err != nil || !strings.Contains(out, "2 of 2 packages good") {
		t.Errorf("release: %v\n%s", err, out)
	}
}

// systems returns this machine's system and the other one.
func systems() (native, foreign matrix.System) {
	for _, s := range matrix.DefaultSystems() {
		if s.Platform() == "linux/"+runtime.GOARCH {
			native = s
		} else {
			foreign = s
		}
	}
	return native, foreign
}
