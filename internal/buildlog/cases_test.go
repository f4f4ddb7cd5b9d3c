package buildlog

import (
	"fmt"
	"maps"
	"os"
	"slices"
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

// knowOutputs sets the derivations of the recorded logs.
func knowOutputs(t *testing.T, log *Log, data string) {
	t.Helper()
	known := map[nix.StorePath]nix.Derivation{}
	for _, drv := range derivationPath.FindAllString(data, -1) {
		d := known[nix.StorePath(drv)]
		name := strings.TrimSuffix(nix.StorePath(drv).Name(), ".drv")
		d.Fixed = name == "busybox" || name == "src.tar.gz"
		for _, out := range anyStorePath.FindAllString(data, -1) {
			if nix.StorePath(out).Name() == name {
				d.Outputs = []nix.StorePath{nix.StorePath(out)}
			}
		}
		known[nix.StorePath(drv)] = d
	}
	log.SetDerivations(known)
}

// byDaemon are the cases that were also recorded with a daemon. Its errors and warnings have another form.
var byDaemon = []string{"parallel", "fetch", "cycle", "refs", "usesfeature"}

// Each log is of two builds at a time. "good" sleeps and writes nothing; the other has the name of the case.
func TestCasesOfRealNix(t *testing.T) {
	for name, test := range map[string]struct {
		want map[string]string
		// differs is the result of some versions, if it is another one.
		differs map[string]map[string]string
		message string // of the failure that is not "good"'s
	}{
		"parallel": {want: map[string]string{"docs": "good", "fails": "builder failed"}, message: "failed with exit code 1"},
		"chain":    {want: map[string]string{"silent": "good", "c1": "good", "c2": "good", "c3": "good"}},
		"refs":     {want: map[string]string{"good": "good", "o": "good", "refs": "output refused"}, message: "is not allowed to refer to the following paths: /nix/store/"},
		"missing":  {want: map[string]string{"good": "good", "missing": "output refused"}, message: "failed to produce output path for output 'bin'"},
		"cycle": {
			want:    map[string]string{"good": "not finished", "cycle": "output refused"},
			differs: map[string]map[string]string{"2.34": {"good": "good"}}, message: "cycle detected in build of",
		},
		"fifo": {want: map[string]string{"good": "not finished", "fifo": "output refused"}, message: "has an unsupported type"},
		"usesfeature": {
			want:    map[string]string{"good": "not finished", "feature": "no machine for its system"},
			differs: map[string]map[string]string{"2.34": {"good": "good"}}, message: "{my-feature}",
		},
		"json": {
			want:    map[string]string{"good": "good", "json": "good"},
			differs: map[string]map[string]string{"2.8": {"good": "not finished", "json": "not finished"}},
		},
		"timeout":  {want: map[string]string{"good": "timed out"}},
		"loglimit": {want: map[string]string{"docs": "good", "loud": "log too long"}, message: "killed after writing more than 3000 bytes"},
		"fetch": {
			want:    map[string]string{"good": "good", "busybox": "download failed", "src.tar.gz": "download failed"},
			message: "failed with exit code 1",
		},
	} {
		for _, version := range []string{"2.8", "2.26", "2.34", "2.26-daemon", "2.34-daemon"} {
			t.Run(name+"/"+version, func(t *testing.T) {
				file := "testdata/" + name + "-nix-" + version + ".log"
				if _, err := os.Stat(file); err != nil && strings.HasSuffix(version, "-daemon") && !slices.Contains(byDaemon, name) {
					return // its daemon's log was not recorded
				}
				data := readFile(t, file)
				rec, log := newReplay(t)
				knowOutputs(t, log, data)
				end := error(&engine.ExitError{Program: "nix-store", Code: 1, Stderr: data[max(0, len(data)-1000):]})
				if name == "chain" || name == "json" && version != "2.8" {
					end = nil
				}
				feed(t, log, data)
				log.close(t.Context(), end)
				log.DecideByStore(nil)
				want := maps.Clone(test.want)
				maps.Copy(want, test.differs[strings.TrimSuffix(version, "-daemon")])
				if diff := cmp.Diff(want, runtest.Builds(t, rec)); diff != "" {
					t.Errorf("builds (-want +got):\n%s", diff)
				}
				if strings.HasPrefix(log.runMessage(), "warning:") {
					t.Errorf("Nix's error is a warning: %s", log.runMessage())
				}
				for _, e := range runtest.Of[run.BuildFinished](rec) {
					if f := e.Failure; f != nil {
						if strings.Contains(f.Message, "@nix") {
							t.Errorf("message of %s is the protocol: %s", e.Derivation.Name(), f.Message)
						}
						if e.Derivation.Name() != "good.drv" && !strings.Contains(f.Message, test.message) {
							t.Errorf("message of %s is %q, want %q in it", e.Derivation.Name(), f.Message, test.message)
						}
					}
				}
			})
		}
	}
}

func (l *Log) runMessage() string {
	if l.nixError == nil {
		return ""
	}
	return l.nixError.Message
}

func TestNixErrorIsTheCauseOfUnfinishedBuilds(t *testing.T) {
	rec, log := newReplay(t)
	feed(t, log, readFile(t, "testdata/json-nix-2.8.log"))
	log.close(t.Context(), &engine.ExitError{Program: "nix-store", Code: 1})
	log.DecideByStore(nil)
	const want = "[json.exception.type_error.305] cannot use operator[] with a string argument with number"
	if log.nixError.Message != want {
		t.Errorf("Nix's error %q, want %q", log.nixError.Message, want)
	}
	for _, e := range runtest.Of[run.BuildFinished](rec) {
		if e.Failure == nil || !strings.HasSuffix(e.Failure.Message, want) {
			t.Errorf("%s ended with %+v, want Nix's error", e.Derivation.Name(), e.Failure)
		}
	}
}

// A chain of silent dependencies runs beside a silent build. Each is reported as soon as Nix begins the next one.
func TestGoodBuildsAreReportedWhileASilentOneRuns(t *testing.T) {
	for _, version := range []string{"2.8", "2.26", "2.34"} {
		data := readFile(t, "testdata/chain-nix-"+version+".log")
		rec, log := newReplay(t)
		i := strings.Index(data, "c3.drv\",\"\",1,1]")
		feed(t, log, data[:i]+data[i:][:strings.Index(data[i:], "\n")+1])
		if diff := cmp.Diff(map[string]string{"c1": "good", "c2": "good"}, runtest.Builds(t, rec)); diff != "" {
			t.Errorf("Nix %s: when c3 begins (-want +got):\n%s", version, diff)
		}
	}
}

// Nix counts the end of a build at once. It may close the build, and report its failure, only after all builds.
func TestSecondsAreThoseOfTheBuild(t *testing.T) {
	for file, want := range map[string]map[string]float64{
		"parallel-nix-2.8.log": {"fails.drv": 60, "docs.drv": 120},
		// Nix does not report which of the last two ended first.
		"chain-nix-2.8.log": {"c1.drv": 60, "c2.drv": 60, "c3.drv": 120, "silent.drv": 180},
	} {
		rec := &runtest.Recorder{}
		clock := time.Unix(0, 0)
		log := New(Config{Recorder: run.Recorder{Report: rec, Now: func() time.Time { return clock }}, Logs: regular.NewDir(t.TempDir()), System: matrix.X8664Linux})
		var ended int64
		for line := range strings.Lines(readFile(t, "testdata/"+file)) {
			// A build takes a minute; Nix takes an hour to close the activities of packages.
			e := nix.ParseLogEntry([]byte(line))
			if e.Type == nix.ResultProgress && e.ID == log.counter && e.Int(0)+e.Int(3) > ended {
				ended = e.Int(0) + e.Int(3)
				clock = clock.Add(time.Minute)
			}
			if e.Action == nix.LogStop && len(log.undecidedBuilds()) == 0 {
				clock = clock.Add(time.Hour)
			}
			feed(t, log, line)
		}
		got := map[string]float64{}
		for _, e := range runtest.Of[run.BuildFinished](rec) {
			p := &run.PackageResult{Derivation: e.Derivation}
			log.RecordResult(p, nil)
			got[e.Derivation.Name()] = p.Seconds
			if p.Seconds != e.Seconds {
				t.Errorf("%s took %v s by its package, and %v s by its event", e.Derivation.Name(), p.Seconds, e.Seconds)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: seconds (-want +got):\n%s", file, diff)
		}
	}
}

func TestRemoteBuildIsOneBuild(t *testing.T) {
	const (
		drv     = "/nix/store/7fl810qxj70c41adxcc7vvky0cdq6hsg-a.drv"
		counter = `@nix {"action":"start","id":1,"level":0,"parent":0,"text":"","type":104}` + "\n"
		outer   = `@nix {"action":"start","fields":["` + drv + `","ssh-ng://b",1,1],"id":2,"level":3,"parent":0,"text":"building on","type":105}` + "\n"
		inner   = `@nix {"action":"start","id":9,"level":0,"parent":2,"text":"","type":104}` + "\n" +
			`@nix {"action":"start","fields":["` + drv + `","",1,1],"id":3,"level":3,"parent":2,"text":"building","type":105}` + "\n" +
			`@nix {"action":"result","fields":["checkPhase"],"id":3,"type":104}` + "\n" +
			`@nix {"action":"result","fields":["its test"],"id":3,"type":101}` + "\n" +
			`@nix {"action":"result","fields":[1,1,0,0],"id":9,"type":105}` + "\n"
		stops = `@nix {"action":"stop","id":3}` + "\n" + `@nix {"action":"stop","id":2}` + "\n"
		fails = `@nix {"action":"msg","level":0,"msg":"error: builder for '` + drv + `' failed with exit code 1"}` + "\n"
	)
	for name, test := range map[string]struct {
		log  string
		err  error
		want string
	}{
		"reported while it is open":   {counter + outer + inner + fails, &engine.ExitError{Code: 100}, "builder failed"},
		"reported after it is closed": {counter + outer + inner + stops + fails, &engine.ExitError{Code: 100}, "builder failed"},
		"good": {counter + outer + inner + `@nix {"action":"stop","id":3}` + "\n" +
			`@nix {"action":"result","fields":[1,1,0,0],"id":1,"type":105}` + "\n" + `@nix {"action":"stop","id":2}` + "\n", nil, "good"},
	} {
		t.Run(name, func(t *testing.T) {
			rec, log := newReplay(t)
			feed(t, log, test.log)
			log.close(t.Context(), test.err)
			log.DecideByStore(nil)
			if diff := cmp.Diff(map[string]string{"a": test.want}, runtest.Builds(t, rec)); diff != "" {
				t.Errorf("builds (-want +got):\n%s", diff)
			}
			if n := len(runtest.Of[run.BuildStarted](rec)); n != 1 {
				t.Errorf("%d builds started, want 1", n)
			}
			e := runtest.Of[run.BuildFinished](rec)[0]
			if e.Machine != "ssh-ng://b" || !slices.Equal(e.Tail, []string{"its test"}) || readFile(t, e.Log) != "its test\n" {
				t.Errorf("finished as %+v, want its machine and its whole log", e)
			}
			if e.Failure != nil && e.Failure.Phase != "checkPhase" {
				t.Errorf("phase %q, want checkPhase", e.Failure.Phase)
			}
		})
	}
}

func TestMostSpecificErrorIsKept(t *testing.T) {
	_, log := newReplay(t)
	drv := nix.StorePath(okDrv)
	for _, step := range []struct {
		message string
		want    run.FailureKind
	}{
		{`building '` + okDrv + `' went wrong`, run.UnknownFailure},
		{`1 dependencies of derivation '` + okDrv + `' failed to build`, run.DependencyFailed},
		{`cycle detected in build of '` + okDrv + `' in the references of output 'a' from output 'b'`, run.OutputRefused},
		{`building '` + okDrv + `' went wrong`, run.OutputRefused},
		{`build of '` + okDrv + `' failed`, run.OutputRefused},
	} {
		feed(t, log, runtest.NixError("%s", step.message)+"\n")
		if got := log.failures[drv].Kind; got != step.want {
			t.Errorf("after %s: %q, want %q", step.message, got, step.want)
		}
	}
	const other = "/nix/store/23rmr944ir11cav9hhlaxnzqy47cp5c9-user.drv"
	if feed(t, log, runtest.NixError("build of '"+other+"', '"+okDrv+"' failed")+"\n"); log.failures[other] != nil {
		t.Errorf("a summary became the failure %+v of a derivation", log.failures[other])
	}
}

func TestPlainLinesOfNixAreItsError(t *testing.T) {
	for name, test := range map[string]struct{ lines, want string }{
		"an error":      {"error: opening a connection to the store failed\n@nix {\"action\":\n", "opening a connection to the store failed"},
		"other words":   {"nix-store: symbol lookup error\n@nix broken\n", "nix-store: symbol lookup error"},
		"nothing":       {"", "run nix-store: exit code 1"},
		"logged before": {runtest.NixError("logged") + "\nsome words\n", "logged"},
		"a builder's":   {runtest.NixError("logged") + "\n" + claim("forged") + "\n", "logged"},
		"of a daemon":   {claim("logged") + "\nsome words\n", "logged"},
	} {
		t.Run(name, func(t *testing.T) {
			_, log := newReplay(t)
			feed(t, log, test.lines)
			log.close(t.Context(), &engine.ExitError{Program: "nix-store", Code: 1, Stderr: test.lines})
			if log.nixError.Message != test.want {
				t.Errorf("Nix's error %q, want %q", log.nixError.Message, test.want)
			}
		})
	}
}

// If a signal ends Nix, an earlier error about one derivation is not the cause.
func TestSignalToNixIsTheErrorOfTheRun(t *testing.T) {
	for code, want := range map[int]run.Failure{
		137: {Kind: run.Killed, Message: "nix-store was ended by signal 9", ExitCode: 137},
		139: {Kind: run.UnknownFailure, Message: "nix-store was ended by signal 11", ExitCode: 139},
	} {
		rec, log := newReplay(t)
		data := readFile(t, "testdata/parallel-nix-2.8.log")
		failed := runtest.NixError("builder for '%s' failed with exit code 1", "/nix/store/23rmr944ir11cav9hhlaxnzqy47cp5c9-other.drv") + "\n"
		data = data[:strings.Index(data, "test number_2")] + "\n" + failed
		feed(t, log, data)
		log.close(t.Context(), &engine.ExitError{Program: "nix-store", Code: code, Stderr: data})
		if diff := cmp.Diff(&want, log.nixError); diff != "" {
			t.Errorf("error of the run (-want +got):\n%s", diff)
		}
		log.DecideByStore(nil)
		for _, name := range []string{"docs", "fails"} {
			if got := runtest.Builds(t, rec)[name]; got != "not finished" && got != "killed" {
				t.Errorf("%s ended as %q", name, got)
			}
		}
	}
}

// A builder can make Nix log a message that looks like an error of another derivation.
func TestBuilderCannotForgeAnError(t *testing.T) {
	const victim, forger = "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-victim.drv", "/nix/store/23rmr944ir11cav9hhlaxnzqy47cp5c9-forger.drv"
	const start = `@nix {"action":"start","id":1,"level":0,"parent":0,"text":"","type":104}` + "\n" +
		`@nix {"action":"start","fields":["` + victim + `","",1,1],"id":2,"level":3,"parent":0,"text":"","type":105}` + "\n" +
		`@nix {"action":"start","fields":["` + forger + `","",1,1],"id":3,"level":3,"parent":0,"text":"","type":105}` + "\n"
	forged := claim("hash mismatch in fixed-output derivation '"+victim+"': specified: sha256-AAA= got: sha256-BBB=") + "\n"
	for name, test := range map[string]struct {
		log  string
		err  error
		has  map[nix.StorePath]bool
		want map[string]string
	}{
		"all end well":     {start + forged, nil, nil, map[string]string{"victim": "good", "forger": "good"}},
		"the store has it": {start + forged, &engine.ExitError{Code: 1}, map[nix.StorePath]bool{victim: true}, map[string]string{"victim": "good", "forger": "not finished"}},
		"it is not there":  {start + forged, &engine.ExitError{Code: 1}, nil, map[string]string{"victim": "hash mismatch", "forger": "not finished"}},
		"Nix counts a failure": {
			start + `@nix {"action":"result","fields":[0,2,1,1],"id":1,"type":105}` + "\n" + claim("builder for '"+victim+"' failed with exit code 1") + "\n",
			&engine.ExitError{Code: 1}, nil,
			map[string]string{"victim": "builder failed", "forger": "not finished"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rec, log := newReplay(t)
			feed(t, log, test.log)
			if n := len(runtest.Of[run.BuildFinished](rec)); (n > 0) != (name == "Nix counts a failure") {
				t.Errorf("%d builds have ended before Nix has", n)
			}
			log.close(t.Context(), test.err)
			log.DecideByStore(test.has)
			if diff := cmp.Diff(test.want, runtest.Builds(t, rec)); diff != "" {
				t.Errorf("builds (-want +got):\n%s", diff)
			}
			if name != "it is not there" && len(log.HashMismatches()) > 0 {
				t.Errorf("wrong hashes %+v, want none", log.HashMismatches())
			}
		})
	}
}

// Over ssh the end of a remote build's log may come after its error.
func TestLogThatComesAfterTheErrorIsShown(t *testing.T) {
	rec, log := newReplay(t)
	drv := okDrv
	for _, line := range []string{
		`@nix {"action":"start","fields":["` + drv + `","ssh://b",1,1],"id":1,"level":3,"text":"","type":105}`,
		`@nix {"action":"msg","level":0,"msg":"error: build of '` + drv + `' on 'ssh://b' failed: builder for '` + drv + `' failed with exit code 1"}`,
		`@nix {"action":"result","fields":["test 40 FAILED"],"id":1,"type":101}`,
		`@nix {"action":"stop","id":1}`,
		`@nix {"action":"msg","level":0,"msg":"error: builder for '` + drv + `' failed with exit code 1","raw_msg":"builder for '` + drv + `' failed with exit code 1"}`,
	} {
		feed(t, log, line+"\n")
	}
	log.close(t.Context(), &engine.ExitError{Code: 100})
	ends := runtest.Of[run.BuildFinished](rec)
	if len(ends) != 1 || len(ends[0].Tail) != 1 || ends[0].Failure == nil || ends[0].Failure.Kind != run.BuilderFailed || !strings.HasPrefix(ends[0].Failure.Message, "build of ") {
		t.Errorf("ends %+v, want one with the line that came late, and the builder's own reason", ends)
	}
}

// claim is an error in Nix's log that a builder may have forged.
func claim(text string) string {
	return fmt.Sprintf(`@nix {"action":"msg","level":0,"msg":%q}`, "error: "+text)
}

func TestWarningOfEachServerIsReportedOnce(t *testing.T) {
	rec, log := newReplay(t)
	for _, path := range []string{"a", "b", "a"} {
		feed(t, log, `@nix {"action":"msg","level":1,"msg":"warning: unable to download 'http://x.invalid/`+path+`': Could not resolve hostname (6); retrying in 300 ms (attempt 1/5)"}`+"\n")
	}
	// The warnings of a daemon have the level of errors.
	feed(t, log, `@nix {"action":"msg","level":0,"msg":"\u001b[35;1mwarning:\u001b[0m error: unable to download 'http://x.invalid/c': Could not resolve hostname (6); retrying in 300 ms"}`+"\n")
	if len(log.unnamedClaims)+len(log.errors) > 0 {
		t.Errorf("a warning became an error: %+v, %+v", log.unnamedClaims, log.errors)
	}
	if got := runtest.Of[run.Notice](rec); len(got) != 1 || !strings.Contains(got[0].Text, "http://x.invalid/a") {
		t.Errorf("notices %+v, want one", got)
	}
}

func newReplay(t *testing.T) (*runtest.Recorder, *Log) {
	t.Helper()
	rec := &runtest.Recorder{}
	return rec, New(Config{Recorder: run.Recorder{Report: rec, Now: time.Now}, Logs: regular.NewDir(t.TempDir()), System: matrix.X8664Linux})
}

func feed(t *testing.T, log *Log, data string) {
	t.Helper()
	w := &nix.LogWriter{Entry: log.entry}
	if _, err := w.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	w.Flush()
}

// Commands of one run write to the database of the store at the same time. That is no warning for an annotation.
func TestBusyDatabaseIsNoWarning(t *testing.T) {
	rec, log := newReplay(t)
	feed(t, log, `@nix {"action":"msg","level":1,"msg":"warning: SQLite database '/nix/var/nix/db/db.sqlite' is busy"}`+"\n")
	feed(t, log, `@nix {"action":"msg","level":1,"msg":"\u001b[35;1mwarning:\u001b[0m SQLite database '\u001b[35;1m/nix/var/nix/db/db.sqlite\u001b[0m' is busy"}`+"\n")
	feed(t, log, `@nix {"action":"msg","level":1,"msg":"warning: ignoring the user-specified setting"}`+"\n")
	want := []string{"info SQLite database '/nix/var/nix/db/db.sqlite' is busy", "warning ignoring the user-specified setting"}
	var got []string
	for _, n := range runtest.Of[run.Notice](rec) {
		got = append(got, string(n.Level)+" "+n.Text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("notices %q, want %q", got, want)
	}
}
