package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/capsule"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// TestCapsuleHasNoSecret lets a build fail in a process that has every kind of secret, and looks for them in all that
// it leaves.
func TestCapsuleHasNoSecret(t *testing.T) {
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs Nix and root: apt-get install nix-bin")
	}
	dir := t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	flake := filepath.Join(dir, "flake")
	if err := example.WriteFixture(flake, "failing-check"); err != nil {
		t.Fatal(err)
	}
	const token, key, other, password = "canary-of-a-token", "name-1:Y2FuYXJ5LW9mLWEta2V5", "canary-of-another-variable", "canary-of-a-password"
	var out, log bytes.Buffer
	code := run(t.Context(), []string{
		"build", flake, "--system", "x86_64-linux", "--engine", "host", "--contract", "off", "--out", filepath.Join(dir, "out"),
		"--substituter", "file://user:" + password + "@localhost/nowhere", "--memlock", "0",
		"--builders", "ssh://nobody@builder.invalid aarch64-linux /root/.ssh/canary-of-a-key",
	}, system{
		stdout: &out, stderr: &log,
		environ: append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir, "NIX_REMOTE=local?root="+filepath.Join(dir, "store"), "GITHUB_TOKEN="+other),
		secrets: &vault{values: map[string]string{defaultSecret: token, keyVariable: key}},
	})
	files, err := filepath.Glob(filepath.Join(dir, "out/capsules/*.tar.zst"))
	if code != exitFailed || err != nil || len(files) != 1 {
		t.Fatalf("exit code %d, capsules %q:\n%s", code, files, &log)
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte("test number_40 ... FAILED")) || !bytes.Contains(raw, []byte(`"builder failed"`)) {
		t.Errorf("%d bytes without what failed", len(raw))
	}
	for _, secret := range []string{token, key, other, password, "canary"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the capsule has %q in it", secret)
		}
		if secret != "canary" && strings.Contains(log.String()+out.String(), secret) {
			t.Errorf("the log has %q in it:\n%s", secret, log.String())
		}
	}
}

func TestReplayReport(t *testing.T) {
	const drv, dependency = "/nix/store/00000000000000000000000000000001-p.drv", "/nix/store/00000000000000000000000000000002-d.drv"
	failed := func(kind pipelines.FailureKind, code int) *pipelines.Failure {
		return &pipelines.Failure{Kind: kind, ExitCode: code, Message: "with a path of the machine in it"}
	}
	c := &capsule.Capsule{Cells: []capsule.Cell{{
		System: "x86_64-linux", Engine: &pipelines.Engine{Kind: "host", Kernel: "6.1", Cores: 2},
		Failures: []capsule.Failure{{Derivation: drv, Failure: *failed(pipelines.BuilderFailed, 1)}},
	}}}
	for name, test := range map[string]struct {
		failures map[string]*pipelines.Failure
		want     string
		code     int
	}{
		"the same":          {map[string]*pipelines.Failure{drv: failed(pipelines.BuilderFailed, 1)}, "SAME FAILURE   x86_64-linux  " + drv + "\n  builder failed, exit code 1\n", exitOK},
		"another":           {map[string]*pipelines.Failure{drv: failed(pipelines.OutOfMemory, 137)}, "OTHER FAILURE  x86_64-linux  " + drv + "\n  there: builder failed, exit code 1\n  here:  out of memory, exit code 137\n", exitDifferent},
		"none":              {nil, "NO FAILURE     x86_64-linux  " + drv + "\n  there: builder failed, exit code 1\n", exitDifferent},
		"something earlier": {map[string]*pipelines.Failure{dependency: failed(pipelines.BuilderFailed, 1)}, "NO FAILURE     x86_64-linux  " + drv + "\n  there: builder failed, exit code 1\nOTHER FAILURE  x86_64-linux  " + dependency + "\n  here:  builder failed, exit code 1\n", exitDifferent},
	} {
		t.Run(name, func(t *testing.T) {
			result := pipelines.Replayed{System: "x86_64-linux", Failures: map[nix.StorePath]*pipelines.Failure{}, Engine: &pipelines.Engine{Kind: "host", Kernel: "6.2", Cores: 2}}
			for d, f := range test.failures {
				result.Failures[nix.StorePath(d)] = f
			}
			r := newReplayReport("c.tar.zst", c, []pipelines.Replayed{result})
			var out strings.Builder
			if err := r.print(&out); err != nil {
				t.Fatal(err)
			}
			want := test.want + "other conditions than there:\n  x86_64-linux kernel          there: 6.1\n                               here:  6.2\n"
			if out.String() != want {
				t.Errorf("%s\nwant:\n%s", &out, want)
			}
			if got := exitCode(t.Context(), r.err()); got != test.code {
				t.Errorf("exit code %d, want %d: %v", got, test.code, r.err())
			}
		})
	}
}

// Of two systems of which one could not be built, the other's verdict is told, and the exit code is that of a failure.
func TestReplayReportOfSystemThatWasNotBuilt(t *testing.T) {
	const drv = nix.StorePath("/nix/store/00000000000000000000000000000001-p.drv")
	failed := &pipelines.Failure{Kind: pipelines.BuilderFailed, ExitCode: 1}
	c := &capsule.Capsule{}
	for _, system := range matrix.Systems() {
		c.Cells = append(c.Cells, capsule.Cell{System: system, Failures: []capsule.Failure{{Derivation: drv, Failure: *failed}}})
	}
	down := errors.New("open engine: no\x1b[2J answer")
	for name, test := range map[string]struct {
		built *pipelines.Failure
		want  string
		same  int // exit code of the report alone
	}{
		"the same": {failed, "SAME FAILURE   x86_64-linux  " + string(drv) + "\n  builder failed, exit code 1\n", exitOK},
		"another":  {&pipelines.Failure{Kind: pipelines.OutOfMemory}, "OTHER FAILURE  x86_64-linux  " + string(drv) + "\n  there: builder failed, exit code 1\n  here:  out of memory\n", exitDifferent},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplayReport("c.tar.zst", c, []pipelines.Replayed{
				{System: matrix.X8664Linux, Failures: map[nix.StorePath]*pipelines.Failure{drv: test.built}},
				{System: matrix.AArch64Linux, Err: down},
			})
			var out strings.Builder
			if err := r.print(&out); err != nil {
				t.Fatal(err)
			}
			if want := test.want + "NOT BUILT      aarch64-linux\n  here:  open engine: no answer\n"; out.String() != want {
				t.Errorf("%s\nwant:\n%s", &out, want)
			}
			if r.Same || len(r.Failures) != 1 || len(r.NotBuilt) != 1 {
				t.Errorf("%+v", r)
			}
			if got := exitCode(t.Context(), r.err()); got != test.same {
				t.Errorf("exit code of the report is %d, want %d", got, test.same)
			}
			if got := exitCode(t.Context(), errors.Join(down, r.err())); got != exitFailed {
				t.Errorf("exit code is %d, want %d", got, exitFailed)
			}
		})
	}
}
