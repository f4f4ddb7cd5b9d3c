package pipelines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// publishTo makes a run publish, like a release with a secret.
func (run *fakeRun) publishTo(c *fakeCachix) {
	out := run.Results.Manifest.Dir
	run.Publish = publish.Publisher{
		Recorder: run.Recorder, ID: run.ID, Record: run.Record, Evidence: run.Rebuild.Evidence, To: c, From: run.store, Confirm: true, Pins: true, Consent: publish.Consent{Different: run.Rebuild.WarnOnly},
		Journal: publish.NewJournal(out, "run", nil), Resume: "push --resume",
	}
}

func (run *fakeRun) journal(t *testing.T) []publish.JournalEntry {
	t.Helper()
	journals, err := publish.OpenJournals(run.Results.Manifest.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var entries []publish.JournalEntry
	for _, j := range journals {
		entries = append(entries, j.Entries()...)
	}
	return entries
}

func publishVerdicts(m *run.Manifest) map[matrix.System]run.PublishVerdict {
	verdicts := map[matrix.System]run.PublishVerdict{}
	for _, c := range m.Cells {
		if c.Publish != nil {
			verdicts[c.System] = c.Publish.Verdict
		}
	}
	return verdicts
}

func bothSystems(v run.PublishVerdict) map[matrix.System]run.PublishVerdict {
	return map[matrix.System]run.PublishVerdict{matrix.X8664Linux: v, matrix.AArch64Linux: v}
}

// A good build whose push cannot be recorded in the journal is unpublished, not failed.
func TestUnwritableJournal(t *testing.T) {
	release := newFakeRun(t)
	release.publishTo(&fakeCachix{})
	release.Publish.Journal = publish.NewJournal(nil, "run", nil)
	m, err := release.Run(t.Context())
	if got := run.OutcomeOf(err); got != run.OutcomeUnpublished {
		t.Errorf("outcome %v, error %v", got, err)
	}
	if diff := cmp.Diff(bothSystems(run.Unpublished), publishVerdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

func TestReleasePublishesAndPins(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{}
	release.publishTo(cache)
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bothSystems(run.Published), publishVerdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(nix.SortedPaths(release.store.paths), nix.SortedPaths(cache.paths)); diff != "" {
		t.Errorf("published paths, exported ones (-want +got):\n%s", diff)
	}
	want := map[string]nix.StorePath{}
	for _, c := range release.Cells {
		for _, p := range c.Packages {
			want[string(p)+"-"+string(c.System)] = fakePath(c.System, p, "")
		}
	}
	if diff := cmp.Diff(want, cache.pins); diff != "" {
		t.Errorf("pins (-want +got):\n%s", diff)
	}
	for _, c := range m.Cells {
		for _, p := range c.Packages {
			if p.Consumer != run.Visible {
				t.Errorf("%s %s: a consumer's sight is %q, want a hit", c.System, p.Package, p.Consumer)
			}
		}
	}
	if left := release.journal(t); len(left) > 0 {
		t.Errorf("journal of a run that has published all: %v", left)
	}
	checkStepsHaveEnds(t, release)
}

func TestOutputsOfAnEarlierRunArePublishedWithoutAnEngine(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{}
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	release.publishTo(cache)
	release.opened = nil
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(release.opened) > 0 {
		t.Errorf("engines opened: %v", release.opened)
	}
	if diff := cmp.Diff(bothSystems(run.Published), publishVerdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if len(cache.paths) != 4 || len(cache.pins) != 4 {
		t.Errorf("%d paths and %d pins, want 4 of each", len(cache.paths), len(cache.pins))
	}
}

func TestWithheldOutputs(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fakeRun)
		want   string // of the reason; empty if it is published
	}{
		"clean":             {func(*fakeRun) {}, ""},
		"dirty tree":        {func(run *fakeRun) { run.dirty() }, "uncommitted"},
		"overridden input":  {func(run *fakeRun) { run.Overrides = []Override{{Input: "x", Ref: "github:o/x"}} }, "overridden"},
		"no sandbox":        {func(run *fakeRun) { run.unsandbox() }, "without a sandbox"},
		"no sandbox, asked": {func(run *fakeRun) { run.unsandbox(); run.Publish.Unsandboxed = true }, ""},
		"no build users":    {func(run *fakeRun) { run.writable() }, "builders can change their inputs"},
		"no build users, trusted": {
			func(run *fakeRun) { run.writable(); run.Publish.Unsandboxed = true }, "builders can change their inputs",
		},
		"second build": {func(run *fakeRun) { run.Rebuild.Without = ""; run.differs() }, "second build"},
	} {
		t.Run(name, func(t *testing.T) {
			release, cache := newFakeRun(t), &fakeCachix{}
			release.publishTo(cache)
			test.change(release)
			m, _ := release.Run(t.Context())
			if test.want == "" {
				if len(cache.paths) != 4 {
					t.Errorf("published %v, want all", cache.paths)
				}
				return
			}
			if len(cache.paths) > 0 || len(cache.pins) > 0 {
				t.Errorf("published %v, pinned %v", cache.paths, cache.pins)
			}
			for _, c := range m.Cells {
				if c.Publish == nil || c.Publish.Verdict != run.Withheld || !strings.Contains(c.Publish.Reason, test.want) {
					t.Errorf("%s: %+v, want withheld for %q", c.System, c.Publish, test.want)
				}
			}
		})
	}
}

func (run *fakeRun) dirty() {
	s := run.Source.(fakeSource).s
	s.Dirty = true
	run.Source = fakeSource{s}
}

func (run *fakeRun) unsandbox() {
	for _, e := range run.engines {
		e.noSandbox = true
	}
}

// writable lets builders change their inputs.
func (run *fakeRun) writable() {
	for _, e := range run.engines {
		e.writableInputs = true
	}
}

func (run *fakeRun) differs() {
	for _, e := range run.engines {
		e.differs = map[matrix.Package]bool{"headless": true}
	}
}

func TestUnsandboxedOutputsStayWithheldInTheNextRun(t *testing.T) {
	run, cache := newFakeRun(t), &fakeCachix{}
	run.publishTo(cache)
	run.unsandbox()
	for range 2 {
		if _, err := run.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(cache.paths) > 0 {
		t.Errorf("published %v, which was built without a sandbox by the earlier run", cache.paths)
	}
}

// The command check builds into the same store. A later release finds its outputs there.
func TestUnsandboxedOutputsOfACheckStayWithheld(t *testing.T) {
	run, cache := newFakeRun(t), &fakeCachix{}
	store, served := run.Release.Store, run.Served
	run.Release.Store, run.Served, run.Fresh = nil, nil, true
	run.unsandbox()
	if _, err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	run.Release.Store, run.Served, run.Fresh = store, served, false
	run.publishTo(cache)
	for _, e := range run.engines {
		e.noSandbox = false
	}
	m, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(cache.paths) > 0 {
		t.Errorf("published %v, which a check has built without a sandbox: %v", cache.paths, publishVerdicts(m))
	}
}

// A rebuild in a sandbox removes the objection of an earlier build without one.
func TestOutputsRebuiltInASandboxArePublished(t *testing.T) {
	run, cache := newFakeRun(t), &fakeCachix{}
	run.publishTo(cache)
	run.unsandbox()
	if _, err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for system := range run.engines {
		run.engines[system] = newFakeEngine(system) // after a garbage collection
	}
	run.store.paths = nil
	if _, err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(cache.paths) == 0 {
		t.Error("nothing is published, though all was built in a sandbox")
	}
}

// builtReporter calls stop at the end of a build step.
type builtReporter struct {
	run.Reporter
	stop func()
}

func (b builtReporter) Report(at time.Time, e run.Event) {
	b.Reporter.Report(at, e)
	if done, ok := e.(run.StepFinished); ok && done.Step == run.StepBuild {
		b.stop()
	}
}

// An interrupted run records also the outputs that it built without a sandbox.
func TestUnsandboxedOutputsOfAnInterruptedRunStayWithheld(t *testing.T) {
	run, cache := newFakeRun(t), &fakeCachix{}
	run.Cells = run.Cells[:1] // of another system, nothing may have been built yet
	run.publishTo(cache)
	run.unsandbox()
	reporter := run.Release.Report
	ctx, cancel := context.WithCancel(t.Context())
	run.Release.Report = builtReporter{reporter, cancel}
	if _, err := run.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want an interruption", err)
	}
	run.Release.Report = reporter
	for _, e := range run.engines {
		e.noSandbox = false // now there is one
	}
	m, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(cache.paths) > 0 {
		t.Errorf("published %v, of which an interrupted run built some without a sandbox: %v", cache.paths, publishVerdicts(m))
	}
}

func TestWithoutASecretNothingIsPushed(t *testing.T) {
	release := newFakeRun(t)
	release.Publish = publish.Publisher{Disabled: "no secret: X is not set"}
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bothSystems(run.NotWanted), publishVerdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}

	release = newFakeRun(t)
	release.Publish = publish.Publisher{Disabled: "no secret: X is not set", Always: true}
	var publishErr *publish.Error
	if _, err = release.Run(t.Context()); !errors.As(err, &publishErr) {
		t.Errorf("error %v with --push=always, want one of publishing", err)
	}
	if len(release.opened) > 0 {
		t.Error("it was found only after an engine was opened")
	}
}

func TestPushAccessIsCheckedBeforeTheBuild(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{checkErr: errors.New("the token may only read")}
	release.publishTo(cache)
	var publishErr *publish.Error
	if _, err := release.Run(t.Context()); !errors.As(err, &publishErr) || run.OutcomeOf(err) != run.OutcomeUnpublished {
		t.Errorf("error %v, want one of publishing alone", err)
	}
	if len(release.opened) > 0 {
		t.Error("an engine was opened")
	}
}

func TestUnreachableCacheDoesNotFailTheBuild(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{checkErr: unavailableError{errors.New("down")}, pushErr: errors.New("down")}
	release.publishTo(cache)
	m, err := release.Run(t.Context())
	if err == nil || run.OutcomeOf(err) != run.OutcomeUnpublished {
		t.Fatalf("error %v, want one of publishing alone", err)
	}
	if diff := cmp.Diff(allVerdicts(run.Built), verdicts(m)); diff != "" {
		t.Errorf("verdicts of the build (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(bothSystems(run.Unpublished), publishVerdicts(m)); diff != "" {
		t.Errorf("verdicts of publishing (-want +got):\n%s", diff)
	}
	for _, c := range m.Cells {
		if c.Error != "" || c.Verdict != run.Built || c.Publish.Left != 1 || c.Publish.Added != 1 {
			t.Errorf("cell %+v, publish %+v: want a good cell of which one path is left", c, c.Publish)
		}
	}
	if len(cache.pins) > 0 {
		t.Errorf("pinned %v, before all was published", cache.pins)
	}
	if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, "push --resume") {
		t.Errorf("hints %q do not say how to go on", hints)
	}
	if left := release.journal(t); len(left) != 2 {
		t.Errorf("%d journal entries, want one for each system", len(left))
	}
	checkStepsHaveEnds(t, release)
}

func TestConfirmationWaitsForConsumers(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{blind: 2}
	release.publishTo(cache)
	var mu sync.Mutex
	now := time.Unix(1000, 0)
	release.Now = func() time.Time { // each reading of the clock is a second later, so that the timeout passes without waiting
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
	release.Publish.Patience = time.Minute
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bothSystems(run.Published), publishVerdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}

	release, cache = newFakeRun(t), &fakeCachix{blind: 1 << 20}
	release.publishTo(cache)
	m, err = release.Run(t.Context())
	if err == nil || run.OutcomeOf(err) != run.OutcomeUnpublished {
		t.Errorf("error %v, want one of publishing alone", err)
	}
	if diff := cmp.Diff(bothSystems(run.Unconfirmed), publishVerdicts(m)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

func TestNothingIsPinnedIfSomethingFailed(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{}
	release.publishTo(cache)
	release.engines[matrix.AArch64Linux].fails["desktop"] = []string{builderFailed}
	_, err := release.Run(t.Context())
	if err == nil || run.OutcomeOf(err) == run.OutcomeUnpublished {
		t.Fatalf("error %v, want the build's", err)
	}
	if len(cache.paths) != 3 {
		t.Errorf("published %v, want the three good packages", cache.paths)
	}
	if len(cache.pins) > 0 {
		t.Errorf("pinned %v", cache.pins)
	}
}

// Without a sandbox, a builder on this machine could take the secret: nothing is built. The same is true without build
// users, because nothing would be published.
func TestNoUnsandboxedBuildBesideASecret(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fakeRun)
		builds bool
	}{
		"with a sandbox":   {func(*fakeRun) {}, true},
		"without":          {func(run *fakeRun) { run.unsandbox() }, false},
		"without, trusted": {func(run *fakeRun) { run.unsandbox(); run.Publish.Unsandboxed = true }, true},
		"no build users":   {func(run *fakeRun) { run.writable() }, false},
		"none, trusted":    {func(run *fakeRun) { run.writable(); run.Publish.Unsandboxed = true }, false},
		"none, no secret":  {func(run *fakeRun) { run.writable(); run.Publish = publish.Publisher{Disabled: "no secret"} }, true},
		"without a secret": {func(run *fakeRun) { run.unsandbox(); run.Publish = publish.Publisher{Disabled: "no secret"} }, true},
		"in a container":   {func(run *fakeRun) { run.unsandbox(); run.kind("dagger") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			run := newFakeRun(t)
			run.kind("host")
			run.publishTo(&fakeCachix{})
			test.change(run)
			_, err := run.Run(t.Context())
			var publishErr *publish.Error
			if refused := errors.As(err, &publishErr) &&
				(strings.Contains(err.Error(), "could take the secret") || strings.Contains(err.Error(), writableInputs)); refused == test.builds {
				t.Errorf("error %v", err)
			}
			for system, e := range run.engines {
				if built := e.ran(realise)+e.ran(buildAgain) > 0; built != test.builds {
					t.Errorf("%s: built %t, want %t", system, built, test.builds)
				}
			}
		})
	}
}

func (run *fakeRun) kind(kind string) {
	for _, e := range run.engines {
		e.engine.Kind = kind
	}
}

// A preview reports what the run would push of the existing outputs, and how many are missing.
func TestPreviewOfAPush(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{}
	release.publishTo(cache)
	present := fakePath(matrix.X8664Linux, "headless", "")
	release.engines[matrix.X8664Linux].valid[present] = true
	m, err := release.preview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, cell := range m.Cells {
		want := run.PushPlan{Cache: "fake", Push: []nix.StorePath{}, Unbuilt: 2}
		if cell.System == matrix.X8664Linux {
			want = run.PushPlan{Cache: "fake", Push: []nix.StorePath{present}, Bytes: cell.Plan.Push.Bytes, Unbuilt: 1}
		}
		if diff := cmp.Diff(&want, cell.Plan.Push); diff != "" || cell.System == matrix.X8664Linux && want.Bytes == 0 {
			t.Errorf("%s (-want +got):\n%s", cell.System, diff)
		}
	}
	if len(cache.paths) > 0 {
		t.Errorf("a preview has pushed %v", cache.paths)
	}
	release.dirty()
	if m, err = release.preview(t.Context()); err != nil || m.Cells[0].Plan.Push != nil {
		t.Errorf("of a dirty tree: %+v, error %v", m.Cells[0].Plan.Push, err)
	}
}

// If only the push failed, the journal of a release has its pins. If a package failed, it has none.
func TestPinsOfAResumedRelease(t *testing.T) {
	for name, fails := range map[string]bool{"good": false, "failed": true} {
		t.Run(name, func(t *testing.T) {
			run, cache := newFakeRun(t), &fakeCachix{pushErr: errors.New("down")}
			run.publishTo(cache)
			if fails {
				run.engines[matrix.AArch64Linux].fails["desktop"] = []string{builderFailed}
			}
			if _, err := run.Run(t.Context()); err == nil {
				t.Fatal("no error of a cache that is down")
			}
			journals, err := publish.OpenJournals(run.Results.Manifest.Dir, nil)
			if err != nil || len(journals) != 1 {
				t.Fatalf("journals %v, %v", journals, err)
			}
			pins := journals[0].Pins()
			if fails {
				if len(pins) > 0 {
					t.Errorf("it leaves %v to be pinned", pins)
				}
				return
			}
			if err := run.Publish.PinResumed(t.Context(), journals[0]); err != nil {
				t.Fatal(err)
			}
			if len(cache.pins) != 4 || cache.pins["desktop-x86_64-linux"] != fakePath(matrix.X8664Linux, "desktop", "") {
				t.Errorf("pinned %v", cache.pins)
			}
			for _, e := range journals[0].Entries() {
				if err := journals[0].Done(e); err != nil {
					t.Fatal(err)
				}
			}
			if left := run.journal(t); len(left) > 0 {
				t.Errorf("the journal is left, with %v", left)
			}
		})
	}
}

// The journal of an older release does not move a pin of a later release.
func TestOldJournalKeepsPinsOfALaterRelease(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{}
	release.publishTo(cache)
	const name = "desktop-x86_64-linux"
	old := nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-old")
	journal := publish.NewJournal(release.Results.Manifest.Dir, "0", release.Record)
	if err := journal.Add(publish.JournalEntry{Cache: cache.Name(), Paths: []nix.StorePath{old}}); err != nil {
		t.Fatal(err)
	}
	if err := journal.Pin(map[string]nix.StorePath{name: old, "other-x86_64-linux": old}); err != nil {
		t.Fatal(err)
	}
	release.ID, release.Publish.ID = "1", "1"
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := release.Publish.PinResumed(t.Context(), journal); err != nil {
		t.Fatal(err)
	}
	if cache.pins[name] != fakePath(matrix.X8664Linux, "desktop", "") || cache.pins["other-x86_64-linux"] != old {
		t.Errorf("pinned %v", cache.pins)
	}
	if !slices.ContainsFunc(of[run.Notice](release.recorder), func(n run.Notice) bool { return strings.Contains(n.Text, name) }) {
		t.Error("there is no message about it")
	}
}

// damage truncates the matching files of the record's directory, as on a full or failing disk.
func (r *fakeRun) damage(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.Record.Path(), pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s in the record: %v", pattern, err)
	}
	for _, file := range files {
		if err := os.Truncate(file, 10); err != nil {
			t.Fatal(err)
		}
	}
}

// An unreadable entry of the record may be about a second build that differed. Nothing is published then, whether it is
// built now or earlier.
func TestNothingIsPublishedIfTheRecordIsUnreadable(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{}
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	release.publishTo(cache)
	release.damage(t, "objects/*-desktop.json")
	m, err := release.Run(t.Context())
	if p := m.Cells[0].Publish; err != nil || p.Verdict != run.Withheld || !strings.Contains(p.Reason, "read record ") {
		t.Errorf("served: %+v, %v", p, err)
	}
	release.store.paths = nil
	_, err = release.Run(t.Context())
	if err == nil || !strings.Contains(strings.Join(hint.Of(err), ""), "desktop.json; nix-store --delete ") {
		t.Errorf("built: error %v, hints %q", err, hint.Of(err))
	}
	if len(cache.paths) > 0 {
		t.Errorf("published %v", cache.paths)
	}
}

// An unreadable entry of the record may be about a later release that made the pin.
func TestOldJournalPinsNothingIfTheRecordIsUnreadable(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{}
	release.publishTo(cache)
	release.ID, release.Publish.ID = "1", "1"
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	release.damage(t, "cells/*.json")
	const name = "desktop-x86_64-linux"
	old := nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-old")
	journal := publish.NewJournal(release.Results.Manifest.Dir, "0", release.Record)
	if err := errors.Join(journal.Add(publish.JournalEntry{Cache: cache.Name(), Paths: []nix.StorePath{old}}), journal.Pin(map[string]nix.StorePath{name: old})); err != nil {
		t.Fatal(err)
	}
	if err := release.Publish.PinResumed(t.Context(), journal); err == nil || cache.pins[name] == old {
		t.Errorf("error %v, pinned %v", err, cache.pins)
	}
}

// A dependency that consumers cannot fetch is a failed publish, like an output.
func TestMissingDependencyIsNotConfirmed(t *testing.T) {
	dep := nix.PathInfo{Path: "/nix/store/00000000000000000000000000000000-dep"}
	cache := &fakeCachix{spoilt: map[nix.StorePath]error{dep.Path: errors.New("its NAR is not there")}}
	release := newFakeRun(t)
	release.publishTo(cache)
	root := nix.PathInfo{Path: "/nix/store/11111111111111111111111111111111-root", References: []nix.StorePath{dep.Path}}
	added, err := release.Publish.PushOnly(t.Context(), []nix.PathInfo{dep, root})
	if err == nil || run.OutcomeOf(err) != run.OutcomeUnpublished || !strings.Contains(err.Error(), "its NAR is not there") || len(added) != 2 {
		t.Errorf("added %v, error %v", added, err)
	}
}

// The confirmation gives up after --confirm-timeout if the public side never answers, or never has everything.
func TestConfirmationEndsAfterItsTimeout(t *testing.T) {
	object := []nix.PathInfo{{Path: "/nix/store/00000000000000000000000000000000-x"}}
	for name, cache := range map[string]*fakeCachix{
		"silent": {mute: true},
		"blind":  {blind: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := newFakeRun(t)
				release.publishTo(cache)
				release.Now = time.Now
				release.Publish.Patience = time.Minute
				started := time.Now()
				_, err := release.Publish.PushOnly(t.Context(), object)
				if took := time.Since(started); took > time.Minute || took < 45*time.Second {
					t.Errorf("it took %s", took)
				}
				if err == nil || run.OutcomeOf(err) != run.OutcomeUnpublished {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

// A run reports the uploads that it aborts. It continues if that fails.
func TestRunAbortsUploadsOfKilledRuns(t *testing.T) {
	for _, failed := range []error{nil, errors.New("no answer")} {
		t.Run(fmt.Sprint(failed), func(t *testing.T) {
			release := newFakeRun(t)
			cache := &fakeCachix{abortErr: failed}
			release.publishTo(cache)
			out := t.TempDir()
			const destination = "https://cachix.example/api/v1/cache/c"
			if err := regular.NewDir(out).Sub("journal").Write("1.uploads", []byte(destination+"\n+a\n+b\n")); err != nil {
				t.Fatal(err)
			}
			release.Publish.Uploads = publish.NewUploadLog(regular.NewDir(out), "2", destination)
			if _, err := release.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(cache.aborted, []string{"a", "b"}) || len(cache.paths) == 0 {
				t.Errorf("aborted %q, pushed %d paths", cache.aborted, len(cache.paths))
			}
			text := fmt.Sprint(of[run.Notice](release.recorder))
			if !strings.Contains(text, "aborted 2 uploads that a killed run had left open on fake") {
				t.Errorf("notices: %s", text)
			}
			if strings.Contains(text, "abort uploads that a killed run has left open: no answer") != (failed != nil) {
				t.Errorf("notices: %s", text)
			}
		})
	}
}
