package pipelines

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// attest makes a run write bills of materials and provenance.
func (f *fakeRun) attest() {
	f.Results.Statements = &Statements{}
	snapshot := f.Source.(fakeSource).s
	snapshot.NARHash = fakeHash
	f.Source = fakeSource{snapshot}
}

// The steps after the cells can change the outcome. The manifest's file, the last event and the error have the same
// outcome.
func TestStepAfterTheCellsChangesTheOutcome(t *testing.T) {
	for name, test := range map[string]struct {
		inTheWay string // a directory with the name of the step's file
		want     run.Outcome
	}{
		"none":       {"", run.OutcomeGood},
		"sbom":       {"sbom/headless-aarch64-linux.cdx.json/x", run.OutcomeFailed},
		"provenance": {provenance.FileName + "/x", run.OutcomeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			release := newFakeRun(t)
			release.attest()
			out := release.Results.Manifest.Dir
			if test.inTheWay != "" {
				if err := os.MkdirAll(filepath.Join(out.Name(), test.inTheWay), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			m, err := release.Run(t.Context())
			written, readErr := run.ReadManifest(release.Results.Manifest.Path())
			if readErr != nil {
				t.Fatal(readErr)
			}
			finished := of[run.RunFinished](release.recorder)
			if len(finished) != 1 {
				t.Fatalf("%d last events", len(finished))
			}
			for what, got := range map[string]run.Outcome{
				"the error": run.OutcomeOf(err), "the manifest": m.Outcome, "its file": written.Outcome, "the last event": finished[0].Manifest.Outcome,
			} {
				if got != test.want {
					t.Errorf("%s says %s, want %s: %v", what, got, test.want, err)
				}
			}
			checkStepsHaveEnds(t, release)
		})
	}
}
