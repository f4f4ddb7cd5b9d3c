package pipelines

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// interrupter calls stop when the event with the given number is reported.
type interrupter struct {
	*recorder
	at   int
	stop func()
	// between says that stop waits. Do not call it from a reporter that holds a lock, such as that of a build log or of
	// a push.
	between bool

	mu      sync.Mutex
	seen    int
	stopped bool
}

func (i *interrupter) Report(at time.Time, e run.Event) {
	i.recorder.Report(at, e)
	i.mu.Lock()
	i.seen++
	locked := false
	switch e.(type) {
	case run.BuildStarted, run.BuildPhase, run.BuildLine, run.BuildFinished, run.BuildStalled, run.Fetched, run.Uploaded:
		locked = i.between
	}
	now := i.seen > i.at && !i.stopped && !locked
	i.stopped = i.stopped || now
	i.mu.Unlock()
	if now {
		i.stop()
	}
}

// runKinds are the kinds of run that must not be good after an interruption.
var runKinds = map[string]struct {
	prepare func(t *testing.T, run *fakeRun)
	run     func(ctx context.Context, run *fakeRun) (*run.Manifest, error)
	done    func(run *fakeRun, m *run.Manifest) error
}{
	"release": {
		func(_ *testing.T, run *fakeRun) {
			run.publishTo(&fakeCachix{})
			run.Rebuild.Without = ""
			run.attest()
		},
		func(ctx context.Context, run *fakeRun) (*run.Manifest, error) { return run.Run(ctx) },
		releasedAll,
	},
	"release of existing outputs": {
		func(t *testing.T, run *fakeRun) {
			if _, err := run.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			run.publishTo(&fakeCachix{})
			run.recorder = &recorder{}
		},
		func(ctx context.Context, run *fakeRun) (*run.Manifest, error) { return run.Run(ctx) },
		releasedAll,
	},
	"warm": {
		func(_ *testing.T, run *fakeRun) { run.publishTo(&fakeCachix{}); run.Publish.Pins = false },
		func(ctx context.Context, run *fakeRun) (*run.Manifest, error) { return run.Run(ctx) },
		exportedAll,
	},
	"check": {
		func(_ *testing.T, run *fakeRun) { run.Store, run.Served = nil, nil },
		func(ctx context.Context, run *fakeRun) (*run.Manifest, error) { return run.Run(ctx) },
		func(_ *fakeRun, m *run.Manifest) error { return haveVerdict(m, run.Built) },
	},
	"reproduce": {
		func(_ *testing.T, run *fakeRun) {
			run.Served, run.Rebuild = nil, Rebuilding{Fetched: true, NotBuilt: true}
		},
		func(ctx context.Context, run *fakeRun) (*run.Manifest, error) { return run.Run(ctx) },
		func(run *fakeRun, m *run.Manifest) error { return inStore(run, m) },
	},
	"plan": {
		func(_ *testing.T, run *fakeRun) { run.publishTo(&fakeCachix{}) },
		func(ctx context.Context, run *fakeRun) (*run.Manifest, error) { return run.preview(ctx) },
		func(_ *fakeRun, m *run.Manifest) error { return haveVerdict(m, run.ToBuild) },
	},
	"report": {
		func(t *testing.T, run *fakeRun) {
			run.publishTo(&fakeCachix{})
			run.Publish.Pins = false
			if _, err := run.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			run.Publish.Pins = true
			run.recorder = &recorder{}
		},
		func(ctx context.Context, release *fakeRun) (*run.Manifest, error) {
			m, err := run.ReadManifest(release.Results.Manifest.Path())
			if err != nil {
				return nil, err
			}
			return m, release.conclude(ctx, m, nil, nil)
		},
		pinnedAll,
	},
	"push": {
		func(t *testing.T, run *fakeRun) {
			if _, err := run.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			run.publishTo(&fakeCachix{})
			run.recorder = &recorder{}
		},
		func(ctx context.Context, run *fakeRun) (*run.Manifest, error) {
			infos, err := run.store.Closure(ctx, run.store.paths)
			if err == nil {
				_, err = run.Publish.PushOnly(ctx, infos)
			}
			return nil, err
		},
		func(run *fakeRun, _ *run.Manifest) error { return published(run) },
	},
}

// An interrupted run is good only if it had done everything before the interruption, at whichever event that comes.
func TestInterruptedRunIsGoodOnlyIfEverythingIsDone(t *testing.T) {
	for name, kind := range runKinds {
		for _, way := range []string{"signal", "timeout"} {
			t.Run(name+"/"+way, func(t *testing.T) {
				whole, interruptions, good := false, 0, 0
				for at := 0; ; at++ {
					synctest.Test(t, func(t *testing.T) {
						release := newFakeRun(t)
						kind.prepare(t, release)
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						i := &interrupter{recorder: release.recorder, at: at, stop: cancel}
						if way == "timeout" {
							ctx, cancel = run.WithTimeout(ctx, time.Minute, "timeout")
							defer cancel()
							i.between, i.stop = true, func() { time.Sleep(2 * time.Minute) } // of the synctest bubble's clock
						}
						release.Release.Report = i
						m, err := kind.run(ctx, release)
						if !i.stopped {
							whole = true // the run is shorter than that
						}
						interruptions++
						if err == nil || m != nil && m.Outcome == run.OutcomeGood {
							good++
							if undone := kind.done(release, m); undone != nil {
								t.Errorf("interrupted at event %d, it ends with %v, and %v", at, err, undone)
							}
						}
						if m != nil && err == nil && m.Outcome != run.OutcomeGood && m.Outcome != "" {
							t.Errorf("interrupted at event %d, it has no error, and its manifest says %s", at, m.Outcome)
						}
						if err != nil && way == "signal" && !errors.Is(err, context.Canceled) {
							t.Errorf("interrupted at event %d, its error does not say so: %v", at, err)
						}
					})
					if whole {
						break
					}
				}
				if interruptions < 2 || good == 0 {
					t.Errorf("of %d runs %d were good: the test has not seen a whole run", interruptions, good)
				}
			})
		}
	}
}

func haveVerdict(m *run.Manifest, want run.Verdict) error {
	for _, cell := range m.Cells {
		if len(cell.Packages) != len(fakePackages) {
			return fmt.Errorf("%s has %d packages", cell.System, len(cell.Packages))
		}
		for _, p := range cell.Packages {
			if p.Verdict != want && !(want == run.Built && p.Verdict == run.Present) {
				return fmt.Errorf("%s of %s is %s", p.Package, cell.System, p.Verdict)
			}
		}
	}
	return nil
}

func inStore(run *fakeRun, _ *run.Manifest) error {
	return each(run, func(system matrix.System, p matrix.Package) error {
		if missing, _ := run.store.Missing(context.Background(), []nix.StorePath{fakePath(system, p, "")}); len(missing) > 0 {
			return fmt.Errorf("%s was not exported", missing[0])
		}
		return nil
	})
}

func published(run *fakeRun) error {
	cache := run.Publish.To.(*fakeCachix)
	return each(run, func(system matrix.System, p matrix.Package) error {
		if missing, _ := cache.Missing(context.Background(), []nix.StorePath{fakePath(system, p, "")}); len(missing) > 0 {
			return fmt.Errorf("%s was not pushed", missing[0])
		}
		return nil
	})
}

func exportedAll(run *fakeRun, m *run.Manifest) error {
	return errors.Join(inStore(run, m), published(run))
}

func pinnedAll(run *fakeRun, m *run.Manifest) error {
	if n, want := len(run.Publish.To.(*fakeCachix).pins), len(fakePackages)*len(run.Cells); n != want {
		return fmt.Errorf("%d of %d outputs are pinned", n, want)
	}
	return published(run)
}

func releasedAll(release *fakeRun, m *run.Manifest) error {
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			if release.Rebuild.Without == "" && p.Reproducible() != run.Good {
				return fmt.Errorf("%s of %s was not built a second time", p.Package, cell.System)
			}
		}
	}
	return errors.Join(exportedAll(release, m), pinnedAll(release, m))
}

// each calls f for each package of each system.
func each(run *fakeRun, f func(matrix.System, matrix.Package) error) error {
	for _, cell := range run.Cells {
		for _, p := range cell.Packages {
			if err := f(cell.System, p); err != nil {
				return err
			}
		}
	}
	return nil
}
