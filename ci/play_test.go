package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Each half of the workflow runs in its own directory. They share only files.
func TestPlay(t *testing.T) {
	t.Parallel()
	store := needsNix(t)
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash")
	}
	for event, want := range map[string]struct {
		code    int
		pins    int
		summary string
	}{
		"push":                {0, 2, "## ✅ Released"},
		"pull_request_target": {exitUsage, 0, "## ❌ Nothing was built"},
	} {
		t.Run(event, func(t *testing.T) {
			dir := t.TempDir()
			play := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(testdata), "..", ".ci", "play"),
				"--event", event, "--push", "--system", "x86_64-linux", "--dir", dir, "--", "--engine", "host")
			play.Env = append(os.Environ(), "NIX_REMOTE="+store)
			out, err := play.CombinedOutput()
			if code := play.ProcessState.ExitCode(); code != want.code {
				t.Fatalf("exit code %d, %v:\n%s", code, err, out)
			}
			if summary := readTest(t, filepath.Join(dir, "jobs/report/summary.md")); !strings.HasPrefix(summary, want.summary) {
				t.Errorf("the summary is\n%s", summary)
			}
			file := filepath.Join(dir, "jobs/report/temp/manifest.json")
			if want.code != 0 {
				if _, err := os.Stat(file); err == nil {
					t.Error("there is a manifest of nothing")
				}
				return
			}
			m, err := run.ReadManifest(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Cells) != 1 || m.Cells[0].System != matrix.X8664Linux || len(m.Cells[0].Publish.Pins) != want.pins {
				t.Errorf("the manifest has %+v", m.Cells)
			}
		})
	}
}
