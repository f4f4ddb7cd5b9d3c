package pipelines

import (
	"maps"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const fakeTool = nix.StorePath("/nix/store/" + fakeDigest + "w-tool")

// withTool makes headless of one system need a tool that no package refers to.
func withTool(t *testing.T) (*fakeRun, *fakeEngine) {
	t.Helper()
	release, e := newBuilding(t)
	e.tool = fakeTool
	return release, e
}

func (r *fakeRun) sandboxOf(path nix.StorePath) record.Sandbox {
	o, _ := r.Record.Object(path)
	return o.Sandbox
}

// An earlier run has built a tool without a sandbox. A later run with a sandbox finds the tool in the store and builds a
// package with it. Neither this run nor one that finds the package in OUT/cache publishes it.
func TestOutputsOfAnUnsandboxedToolAreNotPublished(t *testing.T) {
	desktop, headless := fakePath(matrix.X8664Linux, "desktop", ""), fakePath(matrix.X8664Linux, "headless", "")
	for name, test := range map[string]struct {
		earlier func(*fakeEngine)
		between func(*record.Object) // of the tool
		consent func(*Release)
		signed  bool
		want    run.PublishVerdict
	}{
		"no sandbox":          {earlier: func(e *fakeEngine) { e.noSandbox = true }, want: run.Withheld},
		"no sandbox, consent": {earlier: func(e *fakeEngine) { e.noSandbox = true }, consent: func(r *Release) { r.Publish.Unsandboxed = true }, want: run.Published},
		"writable inputs":     {earlier: func(e *fakeEngine) { e.writableInputs = true }, consent: func(r *Release) { r.Publish.Unsandboxed = true }, want: run.Withheld},
		"different":           {between: func(o *record.Object) { o.Second = record.Different }, want: run.Withheld},
		"different, consent":  {between: func(o *record.Object) { o.Second = record.Different }, consent: func(r *Release) { r.Rebuild.WarnOnly, r.Publish.Different = true, true }, want: run.Published},
		"fetched since":       {earlier: func(e *fakeEngine) { e.noSandbox = true }, signed: true, want: run.Published},
		"sandbox":             {want: run.Published},
	} {
		t.Run(name, func(t *testing.T) {
			release, e := withTool(t)
			if test.earlier != nil {
				test.earlier(e)
			}
			if _, err := release.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if test.between != nil {
				if err := release.Record.Change([]nix.StorePath{fakeTool}, test.between); err != nil {
					t.Fatal(err)
				}
			}
			// The tool stays; the packages are built again, with a sandbox.
			maps.DeleteFunc(e.valid, func(path nix.StorePath, _ bool) bool { return path != fakeTool })
			release.store.paths = nil
			e.noSandbox, e.writableInputs, e.signed = false, false, test.signed
			cache := &fakeCachix{}
			release.publishTo(cache)
			if test.consent != nil {
				test.consent(release.Release)
			}
			for _, how := range []string{"built", "served"} {
				m, err := release.Run(t.Context())
				if err != nil || m.Cells[0].Publish.Verdict != test.want {
					t.Errorf("%s: %+v, %v", how, m.Cells[0].Publish, err)
				}
			}
			if test.want == run.Withheld && len(cache.paths) > 0 {
				t.Errorf("published %v", cache.paths)
			}
			if test.earlier != nil && !test.signed && (release.sandboxOf(desktop) != record.SandboxOn || !release.sandboxOf(headless).IsOff()) {
				t.Errorf("desktop %q, headless %q: only headless is built with the tool", release.sandboxOf(desktop), release.sandboxOf(headless))
			}
		})
	}
}

// The record says that there is no sandbox before the first output is in the store, because a killed run can record
// nothing afterwards. If a machine with a sandbox built everything, the record says so at the end.
func TestNoSandboxIsRecordedBeforeTheBuild(t *testing.T) {
	paths := []nix.StorePath{fakeTool, fakePath(matrix.X8664Linux, "desktop", ""), fakePath(matrix.X8664Linux, "headless", "")}
	for name, test := range map[string]struct {
		builder        fakeBuilder
		during, after  record.Sandbox
		builtElsewhere bool
	}{
		"a sandbox":              {fakeBuilder{}, "", record.SandboxOn, false},
		"a machine without one":  {fakeBuilder{noSandbox: true}, record.SandboxOff, record.SandboxOn, false},
		"writable inputs":        {fakeBuilder{writableInputs: true}, record.WritableInputs, record.SandboxOn, false},
		"built on that machine":  {fakeBuilder{noSandbox: true}, record.SandboxOff, record.SandboxOff, true},
		"built there, writable":  {fakeBuilder{writableInputs: true}, record.WritableInputs, record.WritableInputs, true},
		"built on another, good": {fakeBuilder{}, "", record.SandboxOn, true},
	} {
		t.Run(name, func(t *testing.T) {
			release, e := withTool(t)
			release.useBuilders(t, good)
			e.builders[good] = &test.builder
			if test.builtElsewhere {
				e.builtOn = map[matrix.Package]string{"desktop": good, "headless": good}
			}
			check := func(when string, want record.Sandbox) {
				t.Helper()
				for _, path := range paths {
					if got := release.sandboxOf(path); got != want {
						t.Errorf("%s the build: %s has %q, want %q", when, path.Name(), got, want)
					}
				}
			}
			e.onRealise = func(bool) { check("in", test.during) }
			if _, err := release.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			check("after", test.after)
		})
	}
}

// A build without a sandbox does not start if its outputs cannot be recorded.
func TestNoUnrecordedBuildWithoutSandbox(t *testing.T) {
	release, e := withTool(t)
	e.noSandbox = true
	if err := release.Record.Note("1", []nix.PathInfo{{Path: fakeTool, NARHash: mustHash(t), NARSize: 1}}); err != nil {
		t.Fatal(err)
	}
	release.damage(t, "objects/*-tool.json")
	_, err := release.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "read record ") || len(e.realiseSettings) > 0 {
		t.Errorf("error %v, realised with %v", err, e.realiseSettings)
	}
}

func mustHash(t *testing.T) nix.Hash {
	t.Helper()
	hash, err := nix.ParseHash(fakeHash)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}
