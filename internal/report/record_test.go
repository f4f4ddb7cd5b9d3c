package report_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// moment is an event with its time.
type moment struct {
	at    time.Duration // since the start of the run
	event run.Event
}

const (
	x86 = matrix.X8664Linux
	arm = matrix.AArch64Linux

	openssl  = nix.StorePath("/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-openssl-3.4.0.drv")
	headless = nix.StorePath("/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-open-sesame-0.4.2.drv")
	desktop  = nix.StorePath("/nix/store/0c6nv3wlrkqp1vcl3x0dq8ah0gzkw2kd-open-sesame-desktop-0.4.2.drv")
)

// recorded is a run of two packages on two systems, of which one fails in one cell.
func recorded() []moment {
	moments := []moment{
		{0, run.RunStarted{
			ID: "20260727-141200-7f3a", Flake: "github:scopecreep-zip/open-sesame/1f0c3a9", Cells: []matrix.Cell{
				{System: x86, Packages: []matrix.Package{"open-sesame", "open-sesame-desktop"}},
				{System: arm, Packages: []matrix.Package{"open-sesame", "open-sesame-desktop"}},
			},
		}},
		{at(0.0), run.StepStarted{Step: run.StepSnapshot}},
		{at(0.4), run.StepFinished{Step: run.StepSnapshot, Seconds: 0.412, Summary: "1f0c3a9, clean"}},
		{at(15), run.Notice{
			System: arm, Level: run.Warning,
			Text: "no native engine, so that it is emulated by QEMU", Hint: "give one with --engine aarch64-linux=tcp://…",
		}},
		{at(15.2), run.Notice{Level: run.Info, Text: "no CACHIX_AUTH_TOKEN: nothing will be pushed"}},
	}
	for _, cell := range [][]moment{fast(), slow()} {
		moments = append(moments, cell...)
	}
	moments = append(
		moments,
		moment{at(741), run.StepStarted{Step: run.StepManifest}},
		moment{at(741.1), run.StepFinished{Step: run.StepManifest, Seconds: 0.021}},
		moment{at(741.2), run.RunFinished{Seconds: 741.2, Manifest: manifest(), Path: ".ci/runs/20260727-141200-7f3a/manifest.json"}},
	)
	slices.SortStableFunc(moments, func(a, b moment) int { return int(a.at - b.at) })
	return moments
}

// fast is the cell that succeeds.
func fast() []moment {
	tail := []string{"running 212 tests", "test result: ok. 212 passed; 0 failed; finished in 21.30s"}
	return slices.Concat(
		step(1, 13, run.StepPreflight, x86, "dagger v0.19.8, nix 2.31.2, 16 cores, 118 GiB free"),
		step(14.5, 2.1, run.StepEvaluate, x86, "2 packages"),
		[]moment{{at(17), run.Planned{System: x86, Plan: plan(118 << 20)}}},
		step(16.7, 0.8, run.StepPlan, x86, "3 to build, 31 to fetch (118.0 MiB)"),
		step(18, 3.3, run.StepProbe, x86, "built in a sandbox, memlock 8 MiB"),
		[]moment{
			{at(22), run.StepStarted{Step: run.StepBuild, System: x86}},
			{at(23), run.Fetched{System: x86, Bytes: 12 << 20, Paths: 3}},
			{at(30), run.Fetched{System: x86, Bytes: 118 << 20, Paths: 31}},
			{at(30), run.BuildStarted{System: x86, Derivation: openssl}},
			{at(40), run.BuildFinished{System: x86, Derivation: openssl, Seconds: 10.2, Log: ".ci/logs/x86_64-linux/openssl-3.4.0.log"}},
			{at(40), run.BuildStarted{System: x86, Derivation: headless}},
			{at(41), run.BuildPhase{System: x86, Derivation: headless, Phase: "buildPhase"}},
			{at(42), run.BuildLine{System: x86, Derivation: headless, Phase: "buildPhase", Text: "   \x1b[1;32mCompiling\x1b[0m serde v1.0.219"}},
			{at(81), run.BuildPhase{System: x86, Derivation: headless, Phase: "checkPhase"}},
			{at(110), run.BuildLine{System: x86, Derivation: headless, Phase: "checkPhase", Text: tail[1]}},
			{at(111), run.BuildFinished{System: x86, Derivation: headless, Seconds: 71.04, Tail: tail, Log: ".ci/logs/x86_64-linux/open-sesame-0.4.2.log"}},
			{at(111), run.BuildStarted{System: x86, Derivation: desktop}},
			{at(112), run.BuildPhase{System: x86, Derivation: desktop, Phase: "checkPhase"}},
			{at(203), run.BuildFinished{System: x86, Derivation: desktop, Seconds: 92.4, Tail: tail, Log: ".ci/logs/x86_64-linux/open-sesame-desktop-0.4.2.log"}},
			{at(203.2), run.StepFinished{Step: run.StepBuild, System: x86, Seconds: 181.2, Summary: "2 of 2 packages"}},
			{at(204), run.StepStarted{Step: run.StepExport, System: x86}},
			{at(205), run.Exported{System: x86, Bytes: 30 << 20, Of: 96 << 20}},
			{at(208), run.StepFinished{Step: run.StepExport, System: x86, Seconds: 4, Summary: "3 paths, 96.0 MiB, 31.2 MiB compressed"}},
		},
		step(208.1, 1.9, run.StepConfirm, x86, "3 paths read back"),
	)
}

// slow is the cell in which a package fails.
func slow() []moment {
	tail := []string{"running 212 tests"}
	for i := range 30 {
		tail = append(tail, fmt.Sprintf("test vault::seal_%02d ... \x1b[32mok\x1b[0m", i))
	}
	tail = append(
		tail,
		"test ipc::socket_mode ... FAILED",
		"::set-output name=token::stolen",
		"thread 'ipc::socket_mode' panicked at src/ipc.rs:88:9: assertion `left == right` failed",
		"test result: FAILED. 211 passed; 1 failed",
	)
	return slices.Concat(
		step(1, 14, run.StepPreflight, arm, "dagger v0.19.8, nix 2.31.2, 16 cores, 118 GiB free"),
		step(15.5, 2.4, run.StepEvaluate, arm, "2 packages"),
		[]moment{{at(18.5), run.Planned{System: arm, Plan: plan(121 << 20)}}},
		step(18, 0.9, run.StepPlan, arm, "3 to build, 31 to fetch (121.4 MiB)"),
		step(19, 11.6, run.StepProbe, arm, "built in a sandbox, memlock 8 MiB"),
		[]moment{
			{at(31), run.StepStarted{Step: run.StepBuild, System: arm}},
			{at(32), run.Fetched{System: arm, Bytes: 20 << 20, Paths: 4}},
			{at(52), run.Fetched{System: arm, Bytes: 121 << 20, Paths: 31}},
			{at(52), run.BuildStarted{System: arm, Derivation: openssl}},
			{at(53), run.BuildPhase{System: arm, Derivation: openssl, Phase: "buildPhase"}},
			{at(90), run.BuildStarted{System: arm, Derivation: headless}},
			{at(91), run.BuildPhase{System: arm, Derivation: headless, Phase: "buildPhase"}},
			{at(272), run.BuildStalled{
				System: arm, Derivation: openssl, Silent: 180,
				Tail: []string{"cc -O3 -c crypto/x509/v3_addr.c", "cc -O3 -c crypto/x509/v3_asid.c"},
			}},
			{at(300), run.BuildFinished{System: arm, Derivation: openssl, Seconds: 248, Log: ".ci/logs/aarch64-linux/openssl-3.4.0.log"}},
			{at(480), run.BuildFinished{System: arm, Derivation: headless, Seconds: 390, Log: ".ci/logs/aarch64-linux/open-sesame-0.4.2.log"}},
			{at(480), run.BuildStarted{System: arm, Derivation: desktop}},
			{at(490), run.BuildPhase{System: arm, Derivation: desktop, Phase: "checkPhase"}},
			{at(739), run.BuildFinished{
				System: arm, Derivation: desktop, Seconds: 259, Tail: tail,
				Log: ".ci/logs/aarch64-linux/open-sesame-desktop-0.4.2.log", Failure: failure(),
			}},
			{at(740), run.StepFinished{
				Step: run.StepBuild, System: arm, Seconds: 709, Summary: "1 of 2 packages",
				Error: "build open-sesame-desktop for aarch64-linux: builder failed",
			}},
			{at(740.1), run.StepFinished{Step: run.StepExport, System: arm, Skipped: "its build failed"}},
		},
	)
}

func manifest() *run.Manifest {
	yes := true
	engine := &engine.Engine{Kind: "dagger", Version: "v0.19.8", Nix: nix.Version{Text: "2.31.2"}, Native: x86}
	outputs := func(path nix.StorePath) []run.Output { return []run.Output{{Name: "out", Path: path}} }
	return &run.Manifest{Version: run.ManifestVersion, Logs: ".ci/logs", Cells: []run.CellResult{
		{System: x86, Verdict: run.Built, Engine: engine, Sandbox: &yes, Seconds: 209, Packages: []run.PackageResult{
			{
				Package: "open-sesame", Verdict: run.Built, Seconds: 71.04, ClosureBytes: 50541363, ClosurePaths: 23,
				Outputs: outputs("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-open-sesame-0.4.2"),
			},
			{
				Package: "open-sesame-desktop", Verdict: run.Built, Seconds: 92.4, ClosureBytes: 432013312, ClosurePaths: 180,
				Outputs: outputs("/nix/store/w2hq3mhhp1cgl6ydq2nbjmpxkh5wkv4d-open-sesame-desktop-0.4.2"),
			},
		}},
		{System: arm, Verdict: run.Failed, Engine: engine, Sandbox: &yes, Emulated: true, Seconds: 739, Packages: []run.PackageResult{
			{
				Package: "open-sesame", Verdict: run.Built, Seconds: 390, ClosureBytes: 49283072, ClosurePaths: 23,
				Outputs: outputs("/nix/store/6qj6a2mpf5bdvn4rqk8h0f1sppsz5xxi-open-sesame-0.4.2"),
			},
			{
				Package: "open-sesame-desktop", Verdict: run.Failed, Seconds: 259, Failure: failure(),
				Log: "aarch64-linux/open-sesame-desktop-0.4.2.log",
			},
		}},
	}}
}

func failure() *run.Failure {
	return &run.Failure{
		Kind: run.BuilderFailed, Phase: "checkPhase", ExitCode: 101,
		Message: "builder for '" + string(desktop) + "' failed with exit code 101",
	}
}

func plan(fetch int64) run.Plan {
	return run.Plan{
		FetchBytes: fetch,
		Build:      []nix.StorePath{openssl, headless, desktop},
		Fetch:      []nix.StorePath{"/nix/store/4nlgxhb09sdr51nc9hdm8az5b08vzkgx-glibc-2.40"},
	}
}

func step(from, seconds float64, name run.Step, system matrix.System, summary string) []moment {
	return []moment{
		{at(from), run.StepStarted{Step: name, System: system}},
		{at(from + seconds), run.StepFinished{Step: name, System: system, Seconds: seconds, Summary: summary}},
	}
}

func at(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
