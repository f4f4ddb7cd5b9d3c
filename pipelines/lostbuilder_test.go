package pipelines

import (
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	// Nix 2.8 writes this if the connection to a builder breaks during a build.
	brokeOff = `@nix {"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m unexpected end-of-file"}` + "\n"
	hookDied = "builder for '%s' failed with exit code 1"
)

// A broken connection to a builder is no failure of the package: it is built once more. The failure of its sibling
// stays.
func TestBuildOfALostBuilderIsRetried(t *testing.T) {
	for name, test := range map[string]struct {
		desktop, headless []string // errors of the builds
		verdicts          [2]run.Verdict
		kind              run.FailureKind // of desktop, if it failed
		realise           int
	}{
		"once":  {[]string{hookDied}, nil, [2]run.Verdict{run.Built, run.Built}, "", 2},
		"twice": {[]string{hookDied, hookDied}, nil, [2]run.Verdict{run.Failed, run.Built}, run.BuilderLost, 2},
		"and a sibling fails": {
			[]string{hookDied}, []string{"build of '%s' on 'ssh-ng://good' failed: builder for it failed with exit code 1"}, [2]run.Verdict{run.Built, run.Failed}, "", 2,
		},
		"its own failure": {[]string{"build of '%s' on 'ssh-ng://good' failed: builder for it failed with exit code 1"}, nil, [2]run.Verdict{run.Failed, run.Built}, run.BuilderFailed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			release, e := newBuilding(t, good)
			e.builtOn = map[matrix.Package]string{"desktop": good, "headless": good}
			e.fails = map[matrix.Package][]string{"desktop": test.desktop, "headless": test.headless}
			if test.desktop[0] == hookDied {
				e.logs = map[matrix.Package]string{"desktop": brokeOff}
			}
			m, err := release.Run(t.Context())
			packages := m.Cells[0].Packages
			if packages[0].Verdict != test.verdicts[0] || packages[1].Verdict != test.verdicts[1] {
				t.Errorf("desktop is %s, headless %s, want %v", packages[0].Verdict, packages[1].Verdict, test.verdicts)
			}
			if bad := test.verdicts[0] == run.Failed || test.verdicts[1] == run.Failed; bad != (err != nil) {
				t.Errorf("error %v", err)
			}
			if f := packages[0].Failure; test.kind != "" && (f == nil || f.Kind != test.kind) || test.kind == "" && f != nil {
				t.Errorf("failure %+v, want %s", f, test.kind)
			}
			if n := e.ran(realise); n != test.realise {
				t.Errorf("realised %d times, want %d", n, test.realise)
			}
			ends := map[string]int{}
			for _, b := range of[run.BuildFinished](release.recorder) {
				ends[b.Derivation.Name()]++
			}
			if ends["desktop.drv"] != 1 || ends["headless.drv"] != 1 {
				t.Errorf("ends of builds: %v, want one each", ends)
			}
			output := release.warnings("remote builder " + good + " broke off: unexpected end-of-file")
			if want := test.desktop[0] == hookDied; len(output) > 0 != want || want && !strings.HasPrefix(output[0], "desktop.drv: ") {
				t.Errorf("warnings %q", output)
			}
		})
	}
}

// A builder that becomes unreachable between the probe step and the build does not fail the run: another machine
// builds.
func TestLostBuilderIsReported(t *testing.T) {
	release, e := newBuilding(t, good)
	e.logs = map[matrix.Package]string{
		"desktop": "ssh: connect to host good port 22: No route to host\n" +
			`@nix {"action":"msg","level":0,"msg":"cannot build on 'ssh-ng://good': \u001b[31;1merror:\u001b[0m cannot open connection to remote store 'ssh-ng://good': error: unexpected end-of-file"}` + "\n",
	}
	e.fails = map[matrix.Package][]string{"headless": {hookDied}}
	m, err := release.Run(t.Context())
	if err == nil || m.Cells[0].Packages[1].Failure.Kind != run.BuilderFailed {
		t.Errorf("%v: a local failure is %+v", err, m.Cells[0].Packages[1].Failure)
	}
	if output := release.warnings("is not used"); len(output) != 1 || !strings.HasSuffix(output[0], ": ssh: connect to host good port 22: No route to host") {
		t.Errorf("warnings %q", output)
	}
}
