package pipelines

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	good  = "ssh-ng://good"
	open  = "ssh-ng://open" // without a sandbox
	down  = "ssh-ng://down"
	eof   = "error: unexpected end-of-file\n"
	noSSH = "cannot build on 'ssh-ng://down': error: cannot connect to 'down': ssh: connect to host down port 22: Connection refused\n" +
		"error: unable to start any build; remote machines may not have all required system features.\n"
)

// newBuilding is a run for one system, with remote builders.
func newBuilding(t *testing.T, builders ...string) (*fakeRun, *fakeEngine) {
	t.Helper()
	run := newFakeRun(t)
	run.Cells = matrix.Expand([]matrix.System{matrix.X8664Linux}, fakePackages)
	e := run.engines[matrix.X8664Linux]
	e.builders = map[string]*fakeBuilder{
		good: {memlock: 2 << 40}, open: {memlock: 3 << 40, noSandbox: true}, down: {fails: []string{noSSH, noSSH, noSSH, noSSH}},
	}
	run.useBuilders(t, builders...)
	return run, e
}

func (run *fakeRun) useBuilders(t *testing.T, lines ...string) {
	t.Helper()
	var err error
	if run.Builders, err = nix.ParseBuilders(strings.Join(lines, ";")); err != nil {
		t.Fatal(err)
	}
	run.Settings = nix.Settings{"builders": nix.FormatBuilders(run.Builders), "max-jobs": "auto"}
}

// warnings returns the texts of all warnings that contain a word.
func (release *fakeRun) warnings(word string) (texts []string) {
	for _, n := range of[run.Notice](release.recorder) {
		if n.Level == run.Warning && strings.Contains(n.Text, word) {
			texts = append(texts, n.Text)
		}
	}
	return texts
}

// probes returns the commands that built a probe, by their sandbox setting.
func (f *fakeEngine) sandboxes() (all []string) {
	for _, s := range f.probeSettings {
		all = append(all, s["sandbox"])
	}
	return all
}

// Only Nix's own message that there can be no sandbox leads to a run without one. A broken connection does not.
func TestBrokenProbeKeepsTheSandboxOn(t *testing.T) {
	for name, test := range map[string]struct {
		fails []string
		want  bool // whether the run continues
	}{
		"once":               {[]string{eof}, true},
		"twice":              {[]string{eof, eof}, false},
		"too many processes": {[]string{"error: cloning builder process: Resource temporarily unavailable\nerror: unable to start build process\n", eof}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run, e := newBuilding(t)
				e.probeFails = test.fails
				m, err := run.Run(t.Context())
				if (err == nil) != test.want {
					t.Errorf("error %v, want the run to go on: %t", err, test.want)
				}
				if got := e.sandboxes(); slices.Contains(got, "false") || len(got) != 2 {
					t.Errorf("probes were built with sandbox = %v, want two in a sandbox", got)
				}
				if on := m.Cells[0].Sandbox; test.want && (on == nil || !*on) || !test.want && on != nil {
					t.Errorf("sandbox is recorded as %v", on)
				}
				if n := e.ran(realise); n > 0 && !test.want {
					t.Error("packages were built although the probe step has failed")
				}
				if lost := run.warnings("no sandbox"); len(lost) > 0 {
					t.Errorf("it says %q", lost)
				}
			})
		})
	}
}

// An engine without privileged containers builds without a sandbox, as its owner has configured it.
func TestEngineThatDeniesPrivileges(t *testing.T) {
	run, e := newBuilding(t)
	e.unprivileged = true
	m, err := run.Run(t.Context())
	if err != nil || *m.Cells[0].Sandbox || len(run.warnings("no sandbox can be had")) != 1 {
		t.Errorf("%v, machines %+v, warnings %q", err, m.Cells[0].Machines, run.warnings(""))
	}
}

func TestEachMachineIsMeasured(t *testing.T) {
	release, e := newBuilding(t, good+" x86_64-linux - 4", open, "ssh://arm aarch64-linux")
	e.builtOn = map[matrix.Package]string{"desktop": good}
	m, err := release.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	yes, no, least, more, most := true, false, int64(1<<40), int64(2<<40), int64(3<<40)
	machine := run.Machine{Processor: "x86_64", Kernel: "6.1.0-fake", Cores: 4}
	here, first, second := machine, machine, machine
	here.Sandbox, here.InSandbox, here.Memlock, here.Built = &yes, true, &least, 1
	first.Builder, first.Sandbox, first.InSandbox, first.Memlock, first.Built = good, &yes, true, &more, 1
	second.Builder, second.Sandbox, second.Memlock = open, &no, &most
	cell := m.Cells[0]
	if diff := cmp.Diff([]run.Machine{here, first, second}, cell.Machines); diff != "" {
		t.Errorf("machines (-want +got):\n%s", diff)
	}
	if !*cell.Sandbox || *cell.Memlock != least || cell.Emulated {
		t.Errorf("of those that built: sandbox %t, memlock %d, emulated %t", *cell.Sandbox, *cell.Memlock, cell.Emulated)
	}
	if on := []string{cell.Packages[0].Builder, cell.Packages[1].Builder}; on[0] != good || on[1] != "" {
		t.Errorf("packages were built on %q, want %s and this machine", on, good)
	}
	// Each probe was for one machine, and only measured builders build.
	var pins []string
	for _, s := range e.probeSettings {
		pins = append(pins, s["builders"]+"|"+s["max-jobs"])
	}
	slices.Sort(pins)
	want := []string{open + " - - 17|0", good + " x86_64-linux - 20|0", "|auto"}
	slices.Sort(want)
	if diff := cmp.Diff(want, pins); diff != "" {
		t.Errorf("probes were pinned (-want +got):\n%s", diff)
	}
	if got, want := e.realiseSettings["builders"], good+" x86_64-linux - 4 ; "+open; got != want {
		t.Errorf("packages were built with builders = %s, want %s", got, want)
	}
}

func TestUnreachableBuilderIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, e := newBuilding(t, down+" x86_64-linux,aarch64-linux", good+" x86_64-linux,aarch64-linux")
		run.Cells = matrix.Expand(matrix.DefaultSystems(), fakePackages)
		run.engines[matrix.AArch64Linux].builders = map[string]*fakeBuilder{good: {}, down: {fails: []string{noSSH, noSSH}}}
		m, err := run.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"remote builder " + down + " is not used: cannot connect to 'down': ssh: connect to host down port 22: Connection refused"}
		if diff := cmp.Diff(want, run.warnings("down")); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
		if got := e.realiseSettings["builders"]; got != good+" x86_64-linux,aarch64-linux" {
			t.Errorf("packages were built with builders = %s", got)
		}
		if n := len(m.Cells[0].Machines); n != 2 || m.Cells[0].Machines[0].Built != 2 {
			t.Errorf("machines %+v, want this one, which built both packages, and %s", m.Cells[0].Machines, good)
		}
	})
}

func TestWithoutJobsOnlyRemoteBuildersBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, e := newBuilding(t, good)
		run.Settings["max-jobs"] = "0"
		e.builtOn = map[matrix.Package]string{"desktop": good, "headless": good}
		m, err := run.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if cell := m.Cells[0]; len(cell.Machines) != 1 || cell.Machines[0].Builder != good || cell.Machines[0].Built != 2 {
			t.Errorf("machines %+v, want %s alone", cell.Machines, good)
		}
		if got := e.realiseSettings["max-jobs"]; got != "0" {
			t.Errorf("packages were built with max-jobs = %s", got)
		}

		run, e = newBuilding(t, down)
		run.Settings["max-jobs"] = "0"
		_, err = run.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "build probe for x86_64-linux on "+down) {
			t.Errorf("error %v, want one about %s", err, down)
		}
		if e.ran(realise) > 0 {
			t.Error("it was built elsewhere")
		}

		run, _ = newBuilding(t, "ssh://arm aarch64-linux")
		run.Settings["max-jobs"] = "0"
		if _, err = run.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--jobs 0") {
			t.Errorf("error %v without a builder for the system, want one about --jobs 0", err)
		}
	})
}

// Outputs of a machine without a sandbox are not published, whatever the other machines have.
func TestOnlySandboxedOutputsArePublished(t *testing.T) {
	for on, want := range map[string]run.PublishVerdict{"": run.Published, good: run.Published, open: run.Withheld, "ssh-ng://never-measured": run.Withheld} {
		t.Run(on, func(t *testing.T) {
			release, e := newBuilding(t, good, open)
			cache := &fakeCachix{}
			release.publishTo(cache)
			e.builtOn = map[matrix.Package]string{"headless": on}
			m, err := release.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			done := m.Cells[0].Publish
			if done.Verdict != want || want == run.Withheld && !strings.Contains(done.Reason, on) {
				t.Errorf("%+v, want %s", done, want)
			}
			if sandbox := m.Cells[0].Sandbox; *sandbox != (want == run.Published) {
				t.Errorf("sandbox is recorded as %t", *sandbox)
			}
			if want == run.Withheld { // the next run finds it built, and does not publish it either
				if m, err = release.Run(t.Context()); err != nil || m.Cells[0].Publish.Verdict != run.Withheld {
					t.Errorf("the next run: %+v, %v", m.Cells[0].Publish, err)
				}
			}
		})
	}
}

// Only builds on an emulating machine are emulated: a foreign system can have a native builder.
func TestEmulationIsAPropertyOfTheBuilder(t *testing.T) {
	const native, emulating = "ssh://native x86_64-linux", "ssh://emulating x86_64-linux"
	for on, want := range map[string]bool{"ssh://native": false, "ssh://emulating": true} {
		run, e := newBuilding(t, native, emulating)
		e.engine.Native, e.engine.Emulator = matrix.AArch64Linux, "binfmt"
		e.builders = map[string]*fakeBuilder{"ssh://native": {}, "ssh://emulating": {emulated: true}}
		e.builtOn = map[matrix.Package]string{"desktop": on, "headless": on}
		m, err := run.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Cells[0].Emulated; got != want {
			t.Errorf("built on %s: emulated %t, want %t", on, got, want)
		}
	}
}

// Second builds compare with the outputs on this machine. A remote builder would reuse its own result.
func TestSecondBuildsAreMadeOnThisMachine(t *testing.T) {
	run, e := newBuilding(t, open)
	run.Rebuild = Rebuilding{}
	e.builtOn = map[matrix.Package]string{"desktop": open, "headless": open}
	m, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := e.checkSettings; s["builders"] != "" || s["max-jobs"] != "1" {
		t.Errorf("second builds had builders = %q, max-jobs = %q", s["builders"], s["max-jobs"])
	}
	if second := m.Cells[0].Second; second == nil || second.Sandbox == nil || !*second.Sandbox {
		t.Errorf("second builds are recorded as %+v, want in this machine's sandbox", second)
	}
	if *m.Cells[0].Sandbox {
		t.Error("the first build is recorded as in a sandbox")
	}
}

func TestNoSecondBuildWithoutThisMachine(t *testing.T) {
	for name, change := range map[string]func(*fakeRun, *fakeEngine){
		"--jobs 0":              func(run *fakeRun, _ *fakeEngine) { run.Settings["max-jobs"] = "0" },
		"another native system": func(_ *fakeRun, e *fakeEngine) { e.engine.Native = matrix.AArch64Linux },
		"cannot build at all": func(_ *fakeRun, e *fakeEngine) {
			e.probeFails = []string{"error: no", "error: no"}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			release, e := newBuilding(t, good+" x86_64-linux")
			e.onRealise = func(check bool) {
				if check {
					t.Error("a second build was made")
				}
			}
			cache := &fakeCachix{}
			release.publishTo(cache)
			release.Rebuild = Rebuilding{}
			e.builtOn = map[matrix.Package]string{"desktop": good, "headless": good}
			change(release, e)
			m, err := release.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if local := e.realiseSettings["max-jobs"]; (name != "another native system") != (local == "0") {
				t.Errorf("%s: packages were built with max-jobs = %s: a machine that was not measured builds nothing", name, local)
			}
			if got := m.Cells[0].Packages[0].Reproducible(); got != run.Unknown || e.checkSettings != nil {
				t.Errorf("%s: reproducible: %s, want unknown", name, got)
			}
			if done := m.Cells[0].Publish; done.Verdict != run.Withheld || !strings.Contains(done.Reason, "--rebuild=off") {
				t.Errorf("%s: %+v, want withheld: there was no second build", name, done)
			}
			release, e = newBuilding(t, good+" x86_64-linux")
			release.Rebuild = Rebuilding{Fetched: true} // requested
			change(release, e)
			if _, err := release.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "second builds are made on this machine") {
				t.Errorf("error %v with %s, want an error: the requested second build is missing", err, name)
			}
		})
	}
}

func TestMachineOfNewAndOldSpelling(t *testing.T) {
	c := run.CellResult{Machines: []run.Machine{{}, {Builder: "ssh-ng://a?x=1"}, {Builder: "ssh-ng://b?x=1"}, {Builder: "ssh-ng://b?x=2"}}}
	for builder, want := range map[string]int{
		"": 0, "ssh-ng://user@a?x=1": 1, "ssh-ng://a/": 1, "ssh-ng://b?x=2": 3, "ssh-ng://b": 4, "ssh-ng://other": 4,
	} {
		machines := slices.Clone(c.Machines)
		got := (&run.CellResult{Machines: machines})
		got.Machine(builder).Built++
		i := slices.IndexFunc(got.Machines, func(m run.Machine) bool { return m.Built > 0 })
		if i != want {
			t.Errorf("machine(%q) is number %d, want %d", builder, i, want)
		}
	}
}

func TestMachinesInJSON(t *testing.T) {
	data, err := json.Marshal(run.Machine{})
	if err != nil || string(data) != `{"emulated":false,"built":0}` {
		t.Errorf("a machine that was not measured is %s, %v", data, err)
	}
}

// Nix wrote these texts for each protocol.
func TestUnreachableBuilder(t *testing.T) {
	const planned = "this derivation will be built:\n  /nix/store/4szg4cfxn10nvw5rrbi7vg9ssz0q08a8-probe-x86_64-linux.drv\n"
	for stderr, want := range map[string]string{
		planned + "cannot build on 'ssh://root@b': \x1b[31;1merror:\x1b[0m cannot connect to '\x1b[35;1mroot@b\x1b[0m': ssh: connect to host b port 22: Connection refused\n":          "cannot connect to 'root@b': ssh: connect to host b port 22: Connection refused",
		planned + "Host key verification failed.\ncannot build on 'ssh-ng://root@b': error: cannot open connection to remote store 'ssh-ng://root@b': error: unexpected end-of-file\n": "Host key verification failed.",
		planned + "warning: x\ncannot build on 'ssh-ng://root@b': error: cannot open connection to remote store 'ssh-ng://root@b': error: unexpected end-of-file\n":                    "cannot open connection to remote store 'ssh-ng://b': unexpected end-of-file",
		planned + "error: unexpected end-of-file\n": "",
	} {
		if _, got, ok := buildlog.ParseUnreachable(stderr); got != want || ok != (want != "") {
			t.Errorf("unreachable(%q) = %q, want %q", stderr, got, want)
		}
	}
}
