package buildlog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run/runtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestClassify(t *testing.T) {
	const drv = "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv"
	for _, test := range []struct {
		name, message string
		kind          run.FailureKind
		code          int
		about         string
	}{
		{"builder, 2.8", "builder for '" + drv + "' failed with exit code 2;\nlast 25 log lines:\n> a\n> b", run.BuilderFailed, 2, drv},
		{"builder, 2.34", "Cannot build '" + drv + "'.\n Reason: \x1b[31;1mbuilder failed with exit code 2\x1b[0m.\n Output paths:\n /nix/store/x", run.BuilderFailed, 2, drv},
		{"killed", "builder for '" + drv + "' failed due to signal 9 (Killed)", run.Killed, 137, drv},
		{"137", "builder for '" + drv + "' failed with exit code 137", run.Killed, 137, drv},
		{"segmentation fault", "builder for '" + drv + "' failed due to signal 11 (Segmentation fault)", run.BuilderFailed, 139, drv},
		{"daemon", "Nix daemon disconnected unexpectedly (maybe it crashed?)", run.EngineLost, 0, ""},
		{"disk", "writing to file: No space left on device", run.DiskFull, 0, ""},
		{"silence", "building of '" + drv + "' timed out after 3600 seconds of silence", run.TimedOut, 0, drv},
		{"substituter", "unable to download 'https://cache.example/x.narinfo': Couldn't connect to server (7)", run.SubstituterFailed, 0, ""},
		{"substitutes", "some substitutes for the outputs of derivation '" + drv + "' failed (usually happens due to networking issues); try '--fallback' to build derivation from source ", run.SubstituterFailed, 0, drv},
		{"platform", "a 'riscv64-linux' with features {} is required to build '" + drv + "', but I am a 'x86_64-linux' with features {}", run.UnsupportedFailure, 0, drv},
		{"features, 2.34", "Cannot build '" + drv + "'.\n Reason: missing system features\n Required features: {my-feature}\n Available features: {kvm}", run.UnsupportedFailure, 0, drv},
		{"platform, 2.34", "Cannot build '" + drv + "'.\n Reason: platform mismatch\n Required system: 'riscv64-linux'\n Current system: 'x86_64-linux'", run.UnsupportedFailure, 0, drv},
		{"reference", "output '/nix/store/r3hc33bww0qm19g03djyh91xhanz4lpx-refs' is not allowed to refer to the following paths:\n /nix/store/9h02y2qxr305kvqlpkbqwdhx6ibcc0qk-o", run.OutputRefused, 0, ""},
		{"log limit", "building of '" + drv + "^*' from .drv file killed after writing more than 3000 bytes of log output", run.LogLimit, 0, drv},
		{"measured by Nix", "builder for '" + drv + "' failed with exit code 121\nnote: build failure may have been caused by lack of free disk space", run.DiskFull, 121, drv},
		{"database", "committing transaction: database or disk is full", run.DiskFull, 0, ""},
		{"words of a log", "builder for '" + drv + "' failed with exit code 1;\nlast 10 log lines:\n> write: No space left on device\n> timed out after 3 seconds", run.BuilderFailed, 1, drv},
		{"a telling name", "builder for '/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-nix-substituter.drv' failed with exit code 1", run.BuilderFailed, 1, "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-nix-substituter.drv"},
		{"something else", "the moon is full", run.UnknownFailure, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			about, f := Classify(test.message)
			if f.Kind != test.kind || f.ExitCode != test.code || string(about) != test.about {
				t.Errorf("classify = %q, %q, %d; want %q, %q, %d", about, f.Kind, f.ExitCode, test.about, test.kind, test.code)
			}
		})
	}
}

func TestFailureMessageIsOneLine(t *testing.T) {
	_, f := Classify("error: hash mismatch in fixed-output derivation '/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv':\n         specified: sha256-AAA=\n            got:    sha256-BBB=")
	want := "hash mismatch in fixed-output derivation '/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv': specified: sha256-AAA= got: sha256-BBB="
	if f.Message != want {
		t.Errorf("message %q, want %q", f.Message, want)
	}
	_, f = Classify("builder for 'x' failed with exit code 2;\n       last 25 log lines:\n       > a")
	if want := "builder for 'x' failed with exit code 2"; f.Message != want {
		t.Errorf("message %q, want %q", f.Message, want)
	}
}

// fakeMeter returns the measurements that a test sets.
type fakeMeter struct{ now engine.Resources }

func (m *fakeMeter) Resources() engine.Resources { return m.now }

const okDrv = "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv"

// failWith runs a build that writes a line and fails while an engine measures. It calls change before the failure.
func failWith(t *testing.T, machine, line, message string, meter *fakeMeter, change func()) *run.Failure {
	t.Helper()
	rec := &runtest.Recorder{}
	log := New(Config{Recorder: run.Recorder{Report: rec, Now: time.Now}, Logs: regular.NewDir(t.TempDir()), System: matrix.X8664Linux})
	if meter != nil {
		log.meter = meter
	}
	write := func(format string, args ...any) {
		log.entry(nix.ParseLogEntry(fmt.Appendf(nil, format, args...)))
	}
	write(`@nix {"action":"start","fields":[%q,%q,1,1],"id":7,"type":105}`, okDrv, machine)
	write(`@nix {"action":"result","fields":[%q],"id":7,"type":101}`, line)
	change()
	write("%s", runtest.NixError("builder for '%s' failed %s", okDrv, message))
	got := runtest.Of[run.BuildFinished](rec)
	if len(got) != 1 || got[0].Failure == nil {
		t.Fatalf("finished as %+v, want one failure", got)
	}
	return got[0].Failure
}

func TestWordsInALogAreOnlyARemark(t *testing.T) {
	for line, remark := range map[string]string{
		"test enospc (write: No space left on device) ... ok": `its log has the words "No space left on device"`,
		"test oom: fork: Cannot allocate memory ... ok":       `its log has the words "Cannot allocate memory"`,
		"error: could not compile `x` (signal: 9, SIGKILL)":   `its log has the words "signal: 9, SIGKILL"`,
		"assertion failed": "",
	} {
		f := failWith(t, "", line, "with exit code 1", &fakeMeter{engine.Resources{StoreFree: 1 << 30, BuildFree: 1 << 30}}, func() {})
		if f.Kind != run.BuilderFailed || f.Remark != remark || f.Hint() != "" {
			t.Errorf("%q: %q, remark %q, hint %q; want %q, remark %q, no hint", line, f.Kind, f.Remark, f.Hint(), run.BuilderFailed, remark)
		}
	}
}

func TestMeasurementsDecideTheKindOfAFailure(t *testing.T) {
	for name, test := range map[string]struct {
		machine, message string
		after            engine.Resources
		want             run.FailureKind
	}{
		"store full":                {"", "with exit code 1", engine.Resources{StoreFree: 0, BuildFree: 1 << 30}, run.DiskFull},
		"build directory full":      {"", "with exit code 1", engine.Resources{StoreFree: 1 << 30, BuildFree: 4096}, run.DiskFull},
		"room enough":               {"", "with exit code 1", engine.Resources{StoreFree: 1 << 30, BuildFree: 1 << 30}, run.BuilderFailed},
		"killed by the kernel":      {"", "due to signal 9 (Killed)", engine.Resources{StoreFree: 1 << 30, BuildFree: 1 << 30, OOMKills: 1}, run.OutOfMemory},
		"killed by something else":  {"", "due to signal 9 (Killed)", engine.Resources{StoreFree: 1 << 30, BuildFree: 1 << 30}, run.Killed},
		"its child killed":          {"", "with exit code 2", engine.Resources{StoreFree: 1 << 30, BuildFree: 1 << 30, OOMKills: 1}, run.BuilderFailed},
		"not known":                 {"", "due to signal 9 (Killed)", engine.Resources{StoreFree: -1, BuildFree: -1, OOMKills: -1}, run.Killed},
		"built on another machine":  {"ssh-ng://b", "with exit code 1", engine.Resources{StoreFree: 0, BuildFree: 0, OOMKills: 3}, run.BuilderFailed},
		"killed on another machine": {"ssh-ng://b", "due to signal 9 (Killed)", engine.Resources{StoreFree: 0, BuildFree: 0, OOMKills: 3}, run.Killed},
	} {
		t.Run(name, func(t *testing.T) {
			meter := &fakeMeter{engine.Resources{StoreFree: 1 << 30, BuildFree: 1 << 30}}
			f := failWith(t, test.machine, "make: *** Error", test.message, meter, func() { meter.now = test.after })
			if f.Kind != test.want {
				t.Errorf("kind %q, remark %q; want %q", f.Kind, f.Remark, test.want)
			}
			if name == "its child killed" && !strings.Contains(f.Remark, "the kernel killed 1 process because memory ran out") {
				t.Errorf("remark %q, want the kernel's count", f.Remark)
			}
		})
	}
}

func TestNoMeasurementsWithoutMeter(t *testing.T) {
	if f := failWith(t, "", "x", "due to signal 9 (Killed)", nil, func() {}); f.Kind != run.Killed || f.Remark != "" {
		t.Errorf("%q, remark %q; want %q", f.Kind, f.Remark, run.Killed)
	}
}

func TestLostNixCanBeOutOfMemory(t *testing.T) {
	for name, test := range map[string]struct {
		err    *engine.ExitError
		killed int64
		want   run.FailureKind
	}{
		"Nix itself":                  {&engine.ExitError{Program: "nix-store", Code: 137}, 1, run.OutOfMemory},
		"not by the kernel":           {&engine.ExitError{Program: "nix-store", Code: 137}, 0, run.Killed},
		"its daemon":                  {&engine.ExitError{Program: "nix-store", Code: 1, Stderr: "error: Nix daemon disconnected unexpectedly (maybe it crashed?)"}, 1, run.OutOfMemory},
		"its daemon, another message": {&engine.ExitError{Program: "nix-store", Code: 1, Stderr: "error: Nix daemon disconnected unexpectedly (maybe it crashed?)"}, 0, run.EngineLost},
		"another error meanwhile":     {&engine.ExitError{Program: "nix-store", Code: 1, Stderr: "error: out of luck"}, 1, run.UnknownFailure},
	} {
		t.Run(name, func(t *testing.T) {
			_, log := newReplay(t)
			meter := &fakeMeter{engine.Resources{StoreFree: -1, BuildFree: -1, OOMKills: 4}}
			log.meter, log.oomKillsBefore = meter, 4
			meter.now.OOMKills += test.killed
			if log.close(t.Context(), test.err); log.nixError.Kind != test.want {
				t.Errorf("kind %q, want %q", log.nixError.Kind, test.want)
			}
		})
	}
}

func TestEarlierFullDiskIsNotTheCause(t *testing.T) {
	clock := time.Unix(100, 0)
	l := New(Config{Recorder: run.Recorder{Now: func() time.Time { return clock }}, System: matrix.X8664Linux})
	l.recordFullDisk(engine.Resources{StoreFree: 0, BuildFree: 1 << 30})
	l.meter = &fakeMeter{engine.Resources{StoreFree: 1 << 30, BuildFree: 1 << 30}}
	f := &run.Failure{Kind: run.BuilderFailed}
	l.explainByMeasurements(&build{started: clock.Add(time.Second), log: &logFile{}}, f)
	if f.Kind != run.BuilderFailed {
		t.Errorf("kind %q, want %q", f.Kind, run.BuilderFailed)
	}
}

func TestDownloadThatFails(t *testing.T) {
	for name, test := range map[string]struct {
		tail   []string
		kind   run.FailureKind
		reason string
	}{
		"curl, no host": {[]string{"trying https://x.invalid/a", "curl: (6) Could not resolve host: x.invalid", "error: cannot download a from any mirror"}, run.DownloadFailed, run.NoHost},
		"Nix 2.8":       {[]string{"error: unable to download 'http://x/y': Couldn't resolve host name (6)"}, run.DownloadFailed, run.NoHost},
		"Nix 2.26": {[]string{
			"error:", "       … writing file '/nix/store/x'", "",
			"       error: unable to download 'http://x/y': Could not resolve hostname (6) Could not resolve host: x",
		}, run.DownloadFailed, run.NoHost},
		"status of curl": {[]string{"curl: (22) The requested URL returned error: 404", "error: cannot download a from any mirror"}, run.DownloadFailed, "HTTP status 404"},
		"status of Nix":  {[]string{"error: unable to download 'http://x/y': HTTP error 503"}, run.DownloadFailed, "HTTP status 503"},
		"no network":     {[]string{"curl: (7) Couldn't connect to server: Network is unreachable"}, run.DownloadFailed, run.NoNetwork},
		"refused":        {[]string{"curl: (7) Failed to connect to localhost port 1: Connection refused"}, run.DownloadFailed, run.NoConnection},
		"certificate":    {[]string{"curl: (60) SSL certificate problem: unable to get local issuer certificate"}, run.DownloadFailed, run.NoTLS},
		"own failure":    {[]string{"HTTP/1.1 200 OK", "error: Cargo.lock is not up to date"}, run.BuilderFailed, ""},
		"no message":     {nil, run.BuilderFailed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &run.Failure{Kind: run.BuilderFailed}
			downloadFailure(f, test.tail)
			if f.Kind != test.kind || f.Reason != test.reason {
				t.Errorf("%q, reason %q; want %q, %q", f.Kind, f.Reason, test.kind, test.reason)
			}
			if f.Kind == run.DownloadFailed && f.Hint() == "" {
				t.Error("no hint")
			}
		})
	}
	f := &run.Failure{Kind: run.HashMismatch}
	if downloadFailure(f, []string{"curl: (6) Could not resolve host: first.mirror"}); f.Kind != run.HashMismatch {
		t.Errorf("a wrong hash became %q", f.Kind)
	}
}
