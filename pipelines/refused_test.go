package pipelines

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run/runtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const dependency = "/nix/store/" + fakeDigest + "w-dependency.drv"

// buildOnX86 builds the fake packages for one system.
func buildOnX86(t *testing.T, prepare func(*fakeEngine)) (*fakeRun, map[matrix.Package]run.PackageResult, error) {
	t.Helper()
	release := newFakeRun(t)
	release.Cells = matrix.Expand([]matrix.System{matrix.X8664Linux}, fakePackages)
	prepare(release.engines[matrix.X8664Linux])
	m, err := release.Run(t.Context())
	packages := map[matrix.Package]run.PackageResult{}
	for _, p := range m.Cells[0].Packages {
		packages[p.Package] = p
	}
	return release, packages, err
}

func TestSiblingsOfARefusedDerivationAreBuilt(t *testing.T) {
	const missing = "a 'x86_64-linux' with features {my-feature} is required to build '%s', but I am a 'x86_64-linux' with features {kvm}"
	for name, test := range map[string]struct {
		needs   []string
		message string
		realise int // commands
		kind    run.FailureKind
		text    string
	}{
		"the package's own":      {nil, nixSays(missing, fakePath(matrix.X8664Linux, "desktop", ".drv")), 2, run.UnsupportedFailure, "with features {my-feature}"},
		"that of a dependency":   {[]string{dependency}, nixSays(missing, dependency), 2, run.UnsupportedFailure, "its dependency dependency.drv: a 'x86_64-linux' with features {my-feature}"},
		"its output":             {nil, nixSays("output '%s' is not allowed to refer to the following paths", fakePath(matrix.X8664Linux, "desktop", "")), 2, run.OutputRefused, "is not allowed to refer to"},
		"no derivation is named": {nil, nixSays("[json.exception.type_error.305] cannot use operator[]"), 3, run.Unfinished, "Nix stopped: [json.exception.type_error.305]"},
		"outside of the log":     {nil, "error: [json.exception.type_error.305] cannot use operator[]", 3, run.Unfinished, "Nix stopped: [json.exception.type_error.305]"},
	} {
		t.Run(name, func(t *testing.T) {
			release, packages, err := buildOnX86(t, func(e *fakeEngine) {
				e.refuses = map[matrix.Package]string{"desktop": test.message}
				e.needs = map[matrix.Package][]string{"desktop": test.needs}
			})
			if run.OutcomeOf(err) != run.OutcomeFailed {
				t.Errorf("outcome %q of %v, want %q", run.OutcomeOf(err), err, run.OutcomeFailed)
			}
			if packages["headless"].Verdict != run.Built {
				t.Errorf("the sibling is %q, want %q", packages["headless"].Verdict, run.Built)
			}
			f := packages["desktop"].Failure
			if f == nil || f.Kind != test.kind || !strings.Contains(f.Message, test.text) {
				t.Errorf("the refused package failed as %+v, want %q with %q", f, test.kind, test.text)
			}
			if got := release.engines[matrix.X8664Linux].ran(realise); got != test.realise {
				t.Errorf("%d commands, want %d", got, test.realise)
			}
			if strings.Contains(err.Error(), "@nix") {
				t.Errorf("error shows the protocol: %v", err)
			}
		})
	}
}

func TestFullDiskIsNotRetried(t *testing.T) {
	release, packages, err := buildOnX86(t, func(e *fakeEngine) {
		e.refuses = map[matrix.Package]string{"desktop": nixSays("writing to file: No space left on device")}
	})
	if got := release.engines[matrix.X8664Linux].ran(realise); got != 1 {
		t.Errorf("%d commands, want 1", got)
	}
	for name, p := range packages {
		if p.Failure == nil || p.Failure.Kind != run.DiskFull || !strings.Contains(p.Failure.Message, "writing to file: No space left on device") {
			t.Errorf("%s failed as %+v, want %q with Nix's own words", name, p.Failure, run.DiskFull)
		}
	}
	if !strings.Contains(strings.Join(hint.Of(err), "\n"), "nix-collect-garbage") {
		t.Errorf("hints %q, want how to make room", hint.Of(err))
	}
}

// Two derivations fail, and each package depends on a different one.
func TestPackageFailsByItsDependency(t *testing.T) {
	const first, second = "/nix/store/" + fakeDigest + "a-first.drv", "/nix/store/" + fakeDigest + "b-second.drv"
	_, packages, _ := buildOnX86(t, func(e *fakeEngine) {
		e.needs = map[matrix.Package][]string{"desktop": {second}, "headless": {first}}
		e.logs = map[matrix.Package]string{
			"desktop": nixSays("builder for '%s' failed with exit code 1", first) + "\n" + nixSays("builder for '%s' failed with exit code 2", second) + "\n",
		}
		e.fails["desktop"] = []string{"1 dependencies of derivation '%s' failed to build"}
		e.fails["headless"] = []string{"1 dependencies of derivation '%s' failed to build"}
	})
	for name, want := range map[matrix.Package]string{"desktop": "its dependency second.drv: ", "headless": "its dependency first.drv: "} {
		if f := packages[name].Failure; f == nil || f.Kind != run.DependencyFailed || !strings.HasPrefix(f.Message, want) {
			t.Errorf("%s failed as %+v, want %q", name, f, want)
		}
	}
}

func TestFailedDownloadsAreGrouped(t *testing.T) {
	var fixed []string
	var log strings.Builder
	for i, c := range "abcdf" {
		drv := fmt.Sprintf("/nix/store/%s%c-source-%d.drv", fakeDigest, c, i)
		fixed = append(fixed, drv)
		reason := "Could not resolve host: example.invalid"
		if i == 4 {
			reason = "The requested URL returned error: 404"
		}
		fmt.Fprintf(&log, `@nix {"action":"start","fields":[%q,"",1,1],"id":%d,"level":3,"text":"","type":105}`+"\n", drv, 100+i)
		fmt.Fprintf(&log, `@nix {"action":"result","fields":["curl: %s"],"id":%d,"type":101}`+"\n", reason, 100+i)
		fmt.Fprintln(&log, nixSays("builder for '%s' failed with exit code 1", drv))
	}
	release, packages, err := buildOnX86(t, func(e *fakeEngine) {
		e.fixed = fixed
		e.needs = map[matrix.Package][]string{"desktop": fixed}
		e.logs = map[matrix.Package]string{"desktop": log.String()}
		e.fails["desktop"] = []string{"5 dependencies of derivation '%s' failed to build"}
	})
	groups := of[run.DownloadsFailed](release.recorder)
	if len(groups) != 2 || groups[0].String() != "4 downloads failed: could not resolve host" || groups[1].String() != "1 download failed: HTTP status 404" {
		t.Errorf("groups %v, want four by host and one by status", groups)
	}
	f := packages["desktop"].Failure
	const want = "its dependency source-0 could not be downloaded: could not resolve host (and 4 more dependencies failed)"
	if f == nil || f.Kind != run.DownloadFailed || f.Message != want || f.At != nil {
		t.Errorf("the package failed as %+v, want %q", f, want)
	}
	for _, e := range of[run.BuildFinished](release.recorder) {
		if strings.HasPrefix(e.Derivation.Name(), "source-") && (e.Failure.Kind != run.DownloadFailed || e.Failure.At != nil) {
			t.Errorf("%s ended with %+v, want a download that is at no line of the flake", e.Derivation.Name(), e.Failure)
		}
	}
	var broken *BuildError
	if !errors.As(err, &broken) || len(broken.Downloads) != 2 || !strings.Contains(err.Error(), "4 downloads failed: could not resolve host") {
		t.Errorf("error %v, want the groups", err)
	}
	if !strings.Contains(strings.Join(hint.Of(err), "\n"), "name servers") {
		t.Errorf("hints %q, want one about the network", hint.Of(err))
	}
	if packages["headless"].Verdict != run.Built {
		t.Errorf("the sibling is %q, want %q", packages["headless"].Verdict, run.Built)
	}
}

// If Nix reports no result of a build, it is good if and only if its outputs are in the store.
func TestStoreDecidesUnreportedBuilds(t *testing.T) {
	const there = nix.StorePath("/nix/store/" + fakeDigest + "x-there")
	start := func(drv nix.StorePath, id int) string {
		return fmt.Sprintf(`@nix {"action":"start","fields":[%q,"",1,1],"id":%d,"level":3,"text":"","type":105}`+"\n", drv, id)
	}
	run, _, _ := buildOnX86(t, func(e *fakeEngine) {
		e.valid[there] = true
		e.logs = map[matrix.Package]string{"desktop": start(there+".drv", 100) + start("/nix/store/"+fakeDigest+"y-absent.drv", 101)}
		e.fails["desktop"] = []string{"builder for '%s' failed with exit code 1"}
	})
	got := runtest.Builds(t, run.recorder)
	want := map[string]string{"there": "good", "absent": "not finished", "desktop": "builder failed", "headless": "good"}
	for name, verdict := range want {
		if got[name] != verdict {
			t.Errorf("%s ended as %q, want %q", name, got[name], verdict)
		}
	}
	if !slices.ContainsFunc(run.engines[matrix.X8664Linux].asked, func(a asked) bool {
		return a.operation == findInvalid && strings.Contains(strings.Join(a.files, " "), "x-there")
	}) {
		t.Error("the store was not asked")
	}
}
