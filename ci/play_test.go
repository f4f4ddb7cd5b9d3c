package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The jobs of the workflow run in a directory each. They share only artifacts. A hostile build job publishes nothing.
func TestPlay(t *testing.T) {
	t.Parallel()
	needsTime(t)
	for event, want := range map[string]struct {
		code    int
		jobs    []string
		pins    int
		summary string // of the last job
	}{
		"push":         {0, []string{"build-x86_64-linux", "publish", "rebuild-x86_64-linux"}, 2, "## ✅ Released"},
		"pull_request": {0, []string{"build-x86_64-linux", "publish"}, 0, "## ✅ Built"},
		"fork":         {0, []string{"build-x86_64-linux"}, 0, "## ✅ Built"},
		"pull_request_target": {
			exitUsage, []string{"build-x86_64-linux", "rebuild-x86_64-linux"}, 0, "## ❌ Nothing was built",
		},
	} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			with := "--push"
			if event == "push" {
				with = "--hostile"
			}
			code, out := play(t, dir, "--event", event, with)
			if code != want.code { // also if an attack is not refused, or something is pushed after one
				t.Fatalf("exit code %d:\n%s", code, out)
			}
			if with == "--hostile" {
				checkRefusals(t, out)
			}
			var jobs []string
			for _, job := range glob(t, filepath.Join(dir, "jobs/*")) {
				if name := filepath.Base(job); !strings.HasPrefix(name, "hostile-") {
					jobs = append(jobs, name)
				}
			}
			if diff := cmp.Diff(want.jobs, jobs); diff != "" {
				t.Fatalf("jobs (-want +got):\n%s", diff)
			}
			last := "build-x86_64-linux"
			if len(glob(t, filepath.Join(dir, "jobs/publish"))) > 0 {
				last = "publish"
			}
			if summary := readTest(t, filepath.Join(dir, "jobs", last, "summary.md")); !strings.HasPrefix(summary, want.summary) {
				t.Errorf("the summary is\n%s", summary)
			}
			if last != "publish" {
				return
			}
			m, err := run.ReadManifest(filepath.Join(dir, "jobs/publish/temp/out/manifest.json"))
			if err != nil {
				t.Fatal(err)
			}
			if event == "push" {
				checkSubjects(t, filepath.Join(dir, "jobs/publish"))
			}
			if len(m.Cells) != 1 || m.Cells[0].System != matrix.X8664Linux || len(m.Cells[0].Publish.Pins) != want.pins {
				t.Errorf("the manifest has %+v", m.Cells)
			}
		})
	}
}

// checkRefusals checks that the job that publishes refuses the results of each hostile build job, and says why.
func checkRefusals(t *testing.T, out string) {
	t.Helper()
	for name, want := range map[string]string{
		"narinfo":   "not what its narinfo states: the hash of its NAR is ",
		"other-nar": "not what its narinfo states: ",
		"oversized": "the files have more than 68719476736 bytes",
		"commit":    "publish: the builds are of commit ",
		"link":      ".narinfo is not a regular file",
	} {
		_, log, found := strings.Cut(out, "\n== hostile-"+name+"\n")
		log, _, _ = strings.Cut(log, "\n== ")
		if _, message, failed := strings.Cut(log, " failed: "); !found || !failed || !strings.Contains(message, want) {
			t.Errorf("%s: the error does not have %q:\n%s", name, want, log)
		}
	}
}

// checkSubjects runs the step that lists for attest.yml what was published.
func checkSubjects(t *testing.T, job string) {
	t.Helper()
	if _, err := exec.LookPath("jq"); err != nil {
		return // a runner of GitHub has it
	}
	output := filepath.Join(job, "subjects")
	step := readWorkflow(t, "../.github/workflows/nix.yml").job(t, "publish").step(t, "subjects<<")
	script := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", yamlText(step, "run"))
	script.Env = append(os.Environ(), "RUNNER_TEMP="+filepath.Join(job, "temp"), "GITHUB_OUTPUT="+output)
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const want = `subjects<<END
1740d4e8767d6f030cfa65f4ce5ada17a0bd7e1ffca43e50a38f77a26bc43c00  1hg0f0si0gd8g1byqy6jhkbqg72wgyxc-open-sesame-desktop-1.14.2
82407c4e8ae91f1fdb4201bee1ee13c65fe3696520aec253341d9e5545a3282c  rdbr6skbj696x8mlnq7d0i02ir0cg4zv-open-sesame-1.14.2
END
`
	if diff := cmp.Diff(want, readTest(t, output)); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}
}

// play runs .ci/play for one system, on this machine's Nix, with a store for each job. It returns the exit code and the output.
func play(t *testing.T, dir string, args ...string) (code int, output string) {
	t.Helper()
	needsNix(t)
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash")
	}
	args = append(args, "--system", "x86_64-linux", "--dir", dir, "--", "--engine", "host")
	t.Cleanup(func() {
		for _, store := range glob(t, filepath.Join(dir, "jobs/*/store")) {
			makeWritable(store)
		}
	})
	script := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(testdata), "..", ".ci", "play"), args...)
	script.Env = os.Environ()
	out, err := script.CombinedOutput()
	if err != nil && script.ProcessState == nil {
		t.Fatal(err)
	}
	return script.ProcessState.ExitCode(), string(out)
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}
