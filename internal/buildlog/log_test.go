package buildlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run/runtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func readFile(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// replay feeds a log of a real Nix into a Log.
func replay(t *testing.T, file string) (*runtest.Recorder, *Log) {
	t.Helper()
	rec, log := newReplay(t)
	feed(t, log, readFile(t, file))
	log.close(t.Context(), &engine.ExitError{Program: "nix-store", Code: 102})
	log.DecideByStore(nil)
	return rec, log
}

// The logs are of five derivations: "ok", "bad" (exits with 3), "user" (needs bad), "kill" (killed by SIGKILL),
// and "hm" (fixed-output, with a wrong hash). All are built with --keep-going, two at a time.
func TestBuildLogOfRealNix(t *testing.T) {
	logs, err := filepath.Glob("testdata/keep-going-nix-*.log")
	if err != nil || len(logs) < 3 {
		t.Fatalf("logs of three versions of Nix: got %v, %v", logs, err)
	}
	for _, file := range logs {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".log"), func(t *testing.T) {
			rec, log := replay(t, file)
			got := map[string]run.Failure{}
			for _, e := range runtest.Of[run.BuildFinished](rec) {
				name := strings.TrimSuffix(e.Derivation.Name(), ".drv")
				if _, twice := got[name]; twice {
					t.Errorf("%s finished twice", name)
				}
				got[name] = run.Failure{}
				if e.Failure != nil {
					got[name] = run.Failure{Kind: e.Failure.Kind, ExitCode: e.Failure.ExitCode, Phase: e.Failure.Phase}
				}
				if diff := cmp.Diff([]string{"line 0", "line 1", "line 2", "in check"}, e.Tail); diff != "" {
					t.Errorf("tail of %s (-want +got):\n%s", name, diff)
				}
				data, err := os.ReadFile(e.Log)
				if want := "line 0\nline 1\nline 2\nin check\n"; err != nil || string(data) != want {
					t.Errorf("log of %s: %q, %v, want %q", name, data, err, want)
				}
				check, err := os.ReadFile(strings.TrimSuffix(e.Log, ".log") + ".check.log")
				if err != nil || string(check) != "in check\n" {
					t.Errorf("check log of %s: %q, %v, want the line of checkPhase alone", name, check, err)
				}
			}
			want := map[string]run.Failure{
				"ok":   {},
				"bad":  {Kind: run.BuilderFailed, ExitCode: 3, Phase: "checkPhase"},
				"kill": {Kind: run.Killed, ExitCode: 137, Phase: "checkPhase"},
				"hm":   {Kind: run.HashMismatch, Phase: "checkPhase"},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("builds (-want +got):\n%s", diff)
			}
			checkUser(t, log)
		})
	}
}

// checkUser checks the derivation that never started because its dependency failed.
func checkUser(t *testing.T, log *Log) {
	t.Helper()
	for drv, f := range log.failures {
		if drv.Name() != "user.drv" {
			continue
		}
		if f.Kind != run.DependencyFailed {
			t.Errorf("user failed as %q, want %q", f.Kind, run.DependencyFailed)
		}
		if f := log.DependencyFailure(log.RootFailures()); !strings.Contains(f.Message, ".drv: ") {
			t.Errorf("user's failure is %+v, want the root cause named", f)
		}
		return
	}
	t.Errorf("failures have no user: %v", log.failures)
}

func TestStalledBuildShowsItsLastLines(t *testing.T) {
	rec := &runtest.Recorder{}
	clock := time.Unix(0, 0)
	log := New(Config{
		Recorder: run.Recorder{Report: rec, Now: func() time.Time { return clock }}, Logs: regular.NewDir(t.TempDir()), System: matrix.X8664Linux,
	})
	w := &nix.LogWriter{Entry: log.entry}
	w.Write([]byte(`@nix {"action":"start","fields":["/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv","",1,1],"id":7,"level":3,"text":"","type":105}` + "\n"))
	w.Write([]byte(`@nix {"action":"result","fields":["last words"],"id":7,"type":101}` + "\n"))
	clock = clock.Add(59 * time.Second)
	log.reportStalls(time.Minute)
	if got := runtest.Of[run.BuildStalled](rec); len(got) != 0 {
		t.Errorf("stalled after 59 s of a minute: %+v", got)
	}
	for range 3 { // it is reported once
		clock = clock.Add(time.Second)
		log.reportStalls(time.Minute)
	}
	got := runtest.Of[run.BuildStalled](rec)
	if len(got) != 1 || !cmp.Equal(got[0].Tail, []string{"last words"}) || got[0].Silent != 60 {
		t.Errorf("stalls: %+v, want one, of 60 s, with the last words", got)
	}
	w.Write([]byte(`@nix {"action":"result","fields":["again"],"id":7,"type":101}` + "\n"))
	clock = clock.Add(time.Minute)
	log.reportStalls(time.Minute)
	if got := runtest.Of[run.BuildStalled](rec); len(got) != 2 {
		t.Errorf("a second silence is reported too: got %d, want 2", len(got))
	}
}

func TestOpenBuildEndsWithNix(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		failed bool
	}{
		"well, as with a remote builder": {nil, false},
		"killed":                         {&engine.ExitError{Program: "nix-store", Code: 143}, true},
	} {
		t.Run(name, func(t *testing.T) {
			rec := &runtest.Recorder{}
			log := New(Config{Recorder: run.Recorder{Report: rec, Now: time.Now}, Logs: regular.NewDir(t.TempDir()), System: matrix.X8664Linux})
			w := &nix.LogWriter{Entry: log.entry}
			w.Write([]byte(`@nix {"action":"start","fields":["/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv","ssh://builder",1,1],"id":7,"level":3,"text":"","type":105}` + "\n"))
			w.Write([]byte(`@nix {"action":"stop","id":7}` + "\n"))
			log.close(t.Context(), test.err)
			log.DecideByStore(nil)
			got := runtest.Of[run.BuildFinished](rec)
			if len(got) != 1 || (got[0].Failure != nil) != test.failed {
				t.Errorf("finished as %+v, want one end, failed %t", got, test.failed)
			}
			if len(got) == 1 && got[0].Machine != "ssh://builder" {
				t.Errorf("machine %q, want the one that Nix names", got[0].Machine)
			}
		})
	}
}
