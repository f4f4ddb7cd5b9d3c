package pipelines

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestWritableInputsAreNoSandbox(t *testing.T) {
	release, e := newBuilding(t, good)
	e.builders[good].writableInputs = true
	e.builtOn = map[matrix.Package]string{"headless": good}
	cache := &fakeCachix{}
	release.publishTo(cache)
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cell := m.Cells[0]
	here, there := cell.Machines[0], cell.Machines[1]
	if here.WritableInputs || !*here.Sandbox || !there.WritableInputs || *there.Sandbox || *cell.Sandbox {
		t.Errorf("cell %t, machines %+v", *cell.Sandbox, cell.Machines)
	}
	if len(release.warnings(writableInputs+" on "+good)) != 1 {
		t.Errorf("warnings %q", release.warnings(""))
	}
	if p := cell.Publish; p.Verdict != run.Withheld || !strings.Contains(p.Reason, writableInputs+" on "+good) || len(cache.paths) > 0 {
		t.Errorf("%+v, pushed %v", p, cache.paths)
	}
}

// Nix's sandbox stays on, with its privileges: it is the only other protection of the machine from a builder.
func TestWritableInputsLeaveTheSandboxOn(t *testing.T) {
	run, e := newBuilding(t)
	e.writableInputs = true
	m, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if *m.Cells[0].Sandbox || e.realiseSettings["sandbox"] != "true" {
		t.Errorf("sandbox is recorded as %t, the setting is %q", *m.Cells[0].Sandbox, e.realiseSettings["sandbox"])
	}
}

// Outputs that were built without build users are not published by a later run with build users.
func TestOutputsOfWritableInputsStayWithheld(t *testing.T) {
	release, cache := newFakeRun(t), &fakeCachix{}
	release.publishTo(cache)
	release.Publish.Unsandboxed = true
	release.writable()
	for range 2 {
		m, err := release.Run(t.Context())
		if err != nil || m.Cells[0].Publish.Verdict != run.Withheld || len(cache.paths) > 0 {
			t.Errorf("%+v, %v, pushed %v", m.Cells[0].Publish, err, cache.paths)
		}
		for _, e := range release.engines {
			e.writableInputs = false
		}
	}
}

func TestOutputsOfChangedInputsAreNotExported(t *testing.T) {
	const tool = nix.StorePath("/nix/store/" + fakeDigest + "w-tool")
	release, cache := newFakeRun(t), &fakeCachix{}
	release.publishTo(cache)
	release.engines[matrix.X8664Linux].changed = []nix.StorePath{tool}
	m, err := release.Run(t.Context())
	var changed *ChangedInputsError
	if !errors.As(err, &changed) || !slices.Equal(changed.Paths, []nix.StorePath{tool}) || run.OutcomeOf(err) != run.OutcomeDifferent {
		t.Fatalf("error %v, outcome %s", err, run.OutcomeOf(err))
	}
	if hints := hint.Of(err); len(hints) != 1 || !strings.HasPrefix(hints[0], "nix-store --repair-path "+string(tool)) {
		t.Errorf("hints %q", hints)
	}
	x86, arm := m.Cells[0], m.Cells[1]
	if x86.Publish == nil || x86.Publish.Verdict != run.Withheld || !strings.Contains(x86.Publish.Reason, string(tool)) || x86.Verdict != run.Failed {
		t.Errorf("x86_64: %s, %+v", x86.Verdict, x86.Publish)
	}
	if arm.Publish.Verdict != run.Published || len(cache.pins) > 0 {
		t.Errorf("aarch64: %+v; pins %v", arm.Publish, cache.pins)
	}
	for _, path := range slices.Concat(release.store.paths, cache.paths) {
		for _, p := range fakePackages {
			if path == fakePath(matrix.X8664Linux, p, "") {
				t.Errorf("%s was exported or pushed", path)
			}
		}
	}
}

// A fetched package was not built from this store's contents.
func TestInputsOfFetchedPackagesAreNotRead(t *testing.T) {
	release, e := newFakeRun(t), newFakeEngine(matrix.X8664Linux)
	c := release.newCells(run.Snapshot{})[0]
	c.exec, c.result.Packages = e, []run.PackageResult{
		{Verdict: run.Substituted, Derivation: fakePath(matrix.X8664Linux, "desktop", ".drv")},
		{Verdict: run.Served, Derivation: fakePath(matrix.X8664Linux, "headless", ".drv")},
		{Verdict: run.Failed},
	}
	if err := c.verifyInputs(t.Context()); err != nil || len(e.commands) > 0 {
		t.Errorf("%v, commands %q", err, e.commands)
	}
}

func TestVerificationReportsProgress(t *testing.T) {
	now, shown := time.Unix(0, 0), []int(nil)
	c := &inputCheck{now: func() time.Time { return now }, shown: now.Add(firstProgress - nextProgress), report: func(n int) { shown = append(shown, n) }}
	for i := range 16 {
		// One line arrives in several writes, as through a pipe.
		for _, piece := range []string{"checking ", fmt.Sprintf("path '/nix/store/%sx-%d'...\nerr", fakeDigest, i), "or: path '/nix/store/x' was modified! …\n"} {
			if _, err := c.Write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(time.Second)
	}
	if !slices.Equal(shown, []int{3, 13}) || c.n != 16 || len(c.changed) != 16 {
		t.Errorf("shown %v, n = %d, %d changed", shown, c.n, len(c.changed))
	}
	// Endless output takes no memory.
	for range 100 {
		_, _ = c.Write(make([]byte, maxCheckLine))
	}
	if len(c.line) > maxCheckLine || cap(c.line) > 2*maxCheckLine {
		t.Errorf("the line has %d bytes", len(c.line))
	}
}
