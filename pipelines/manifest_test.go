package pipelines

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// onEvent calls a function before it passes each event on.
type onEvent struct {
	run.Reporter
	do func(run.Event)
}

func (o onEvent) Report(at time.Time, e run.Event) { o.do(e); o.Reporter.Report(at, e) }

// A process that is killed at any event of a run leaves no manifest, unless all steps have ended. So each manifest on disk
// says how its run ended.
func TestAKilledRunHasNoManifest(t *testing.T) {
	for name, inTheWay := range map[string]string{"good": "", "attest fails": provenance.FileName + "/x"} {
		t.Run(name, func(t *testing.T) {
			release := newFakeRun(t)
			release.attest()
			file := release.Results.Manifest
			if inTheWay != "" {
				if err := os.MkdirAll(file.Dir.File(inTheWay), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			release.Release.Report = onEvent{release.recorder, func(e run.Event) {
				if done, ok := e.(run.StepFinished); ok && done.Step == run.StepManifest {
					return
				} else if _, ok := e.(run.RunFinished); ok {
					return
				}
				if _, err := file.Dir.Stat(file.Base); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("a run that is killed at %T %+v has a manifest: %v", e, e, err)
				}
			}}
			_, _ = release.Run(t.Context())
			if _, err := file.Dir.Stat(file.Base); err != nil {
				t.Errorf("a run that ends has no manifest: %v", err)
			}
		})
	}
}

// The provenance has the hash of the manifest on disk, whenever a signal comes, and also if something else has failed before.
func TestProvenanceHasTheHashOfTheManifestOnDisk(t *testing.T) {
	for name, publishes := range map[string]bool{"good": false, "not published": true} {
		t.Run(name, func(t *testing.T) {
			attested := 0
			for at, stopped := 0, true; stopped; at++ {
				release := newFakeRun(t)
				release.attest()
				if publishes {
					release.publishTo(&fakeCachix{pushErr: errors.New("down")})
				}
				ctx, cancel := context.WithCancel(t.Context())
				i := &interrupter{recorder: release.recorder, at: at, stop: cancel}
				release.Release.Report = i
				m, err := release.Run(ctx)
				stopped = i.stopped
				cancel()
				if m == nil {
					continue
				}
				out := release.Results.Manifest.Dir
				written, readErr := run.ReadManifest(release.Results.Manifest.Path())
				if readErr != nil || written.Outcome != m.Outcome || (err == nil) != (m.Outcome == run.OutcomeGood) {
					t.Errorf("interrupted at event %d, it ends with %v; the manifest %s, its file %+v, %v", at, err, m.Outcome, written, readErr)
				}
				all, readErr := provenance.Read(regular.File{Dir: out, Base: provenance.FileName})
				if errors.Is(readErr, fs.ErrNotExist) {
					continue
				}
				attested++
				if readErr != nil || len(all) != 1 {
					t.Fatalf("%d attestations, %v", len(all), readErr)
				}
				claim, claimErr := all[0].Claim()
				file, hashErr := provenance.HashFile(t.Context(), out, "manifest.json", "")
				if claimErr != nil || hashErr != nil || !claim.Byproducts["manifest.json"].Equal(file.Hash) {
					t.Errorf("interrupted at event %d, the provenance has another hash: %v %v", at, claimErr, hashErr)
				}
			}
			if attested == 0 {
				t.Error("no run has provenance")
			}
		})
	}
}

// The last event names the manifest only if it was written.
func TestTheLastEventNamesNoManifestThatWasNotWritten(t *testing.T) {
	for name, end := range map[string]func(*fakeRun) (*run.Manifest, error){
		"release": func(f *fakeRun) (*run.Manifest, error) { return f.Run(t.Context()) },
		"report": func(f *fakeRun) (*run.Manifest, error) {
			m := &run.Manifest{Outcome: run.OutcomeGood}
			return m, f.conclude(t.Context(), m, nil, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			release := newFakeRun(t)
			if err := os.MkdirAll(filepath.Join(release.Results.Manifest.Path(), "x"), 0o755); err != nil {
				t.Fatal(err)
			}
			m, err := end(release)
			finished := of[run.RunFinished](release.recorder)
			if err == nil || m.Outcome != run.OutcomeFailed || len(finished) != 1 || finished[0].Path != "" {
				t.Errorf("it ends with %v, as %s; last events %+v", err, m.Outcome, finished)
			}
		})
	}
}
