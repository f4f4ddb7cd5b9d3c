package report_test

import (
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// released is a good release of both systems.
func released() *run.Manifest {
	m := manifest()
	m.Tool, m.Command, m.Outcome = "open-sesame-ci 0.1.0", "release", run.OutcomeGood
	m.Source = run.Snapshot{URL: "github:ScopeCreep-zip/open-sesame/1f0c3a9b", Rev: "1f0c3a9b", NARHash: "sha256-x"}
	m.Contract = results(12, contract.Pass)
	for i := range m.Cells {
		c := &m.Cells[i]
		c.Verdict, c.Work = run.Built, &run.Work{Built: 3, Fetched: 31, FetchedBytes: 118 << 20}
		c.Job = fmt.Sprintf("https://github.com/ScopeCreep-zip/open-sesame/actions/runs/7/job/%d", 40+i)
		c.Contract = results(83, contract.Pass)
		c.Publish = &run.PublishResult{
			Verdict: run.Published, Cache: "scopecreep-zip", Added: 12, There: 30, Upstream: 161, NARBytes: 96 << 20, FileBytes: 31 << 20,
			Pins: []string{"open-sesame-" + string(c.System)},
		}
		for j := range c.Packages {
			p := &c.Packages[j]
			p.Verdict, p.Failure, p.Consumer, p.Derivation = run.Built, nil, run.Visible, []nix.StorePath{headless, desktop}[j]
			if len(p.Outputs) == 0 {
				p.Outputs = []run.Output{{Name: "out", Path: "/nix/store/0jxs5hgn1bmh3g6xd4j1q2kcyv5ab1sp-open-sesame-desktop-0.4.2"}}
				p.ClosureBytes, p.ClosurePaths = 430<<20, 180
			}
			for k := range p.Outputs {
				p.Outputs[k].Rebuild = run.Good
			}
		}
	}
	return m
}

func results(n int, status contract.Status) []contract.Result {
	return slices.Repeat([]contract.Result{{Check: "outputs/x", Status: status}}, n)
}

func lastRelease() run.LastRelease {
	return run.LastRelease{From: "the pins of scopecreep-zip", Packages: []run.LastPackage{
		{System: x86, Package: "open-sesame", ClosureBytes: 50541363, Outputs: 1},
		{System: x86, Package: "open-sesame-desktop", ClosureBytes: 432013312 - 3<<20, Outputs: 1},
		{System: arm, Package: "open-sesame", ClosureBytes: 49283072 + 700<<10, Outputs: 1},
	}}
}

func started() run.RunStarted { return recorded()[0].event.(run.RunStarted) }

func finished(m *run.Manifest) run.RunFinished {
	return run.RunFinished{Manifest: m, Seconds: 741.2, Path: "manifest.json"}
}

func pin(f run.StepFinished) run.StepFinished {
	f.Step = run.StepPin
	return f
}

// servedAgain is a run in which caches had everything except one package.
func servedAgain() *run.Manifest {
	m := released()
	for i := range m.Cells {
		c := &m.Cells[i]
		c.Verdict, c.Engine, c.Sandbox, c.Work, c.Emulated, c.Seconds = run.Served, nil, nil, nil, false, 0.9
		c.Publish.Added, c.Publish.FileBytes = 0, 0
		for j := range c.Packages {
			p := &c.Packages[j]
			p.Verdict, p.ServedBy, p.Seconds, p.Consumer = run.Served, "https://scopecreep-zip.cachix.org", 0, ""
			p.ClosureBytes, p.ClosurePaths = 0, 0
			for k := range p.Outputs {
				p.Outputs[k].Rebuild = run.Unknown
			}
		}
	}
	return m
}

// failedRun has one of each kind of failure.
func failedRun() []run.Event {
	m := released()
	m.Outcome = run.OutcomeFailed
	m.Contract = append(m.Contract, contract.Result{
		Check: "hashes/nix/package.nix/complete", Status: contract.Fail, Reason: "no hash of nucleo-0.5.0", File: "nix/package.nix", Line: 38,
		Fix: `"nucleo-0.5.0" = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY=";`,
	}, contract.Result{Check: "lock/age", Status: contract.Skip, Reason: "nixpkgs is part of the tree"})
	x, a := &m.Cells[0], &m.Cells[1]
	x.Packages[1].Outputs[0].Rebuild = run.Bad
	x.Packages[1].Difference = &run.Difference{Reason: "a second build differs", Files: []string{
		"bin/daemon-wm: .rodata at 0x1f3: /build/a against /build/b, likely a build path",
	}}
	x.Error = "rebuild open-sesame-desktop: a second build differs"
	x.Verdict = run.Failed
	x.Publish = &run.PublishResult{Verdict: run.Withheld, Reason: "a second build was not the same"}
	*a = manifest().Cells[1]
	a.Job = "https://github.com/ScopeCreep-zip/open-sesame/actions/runs/7/job/41"
	a.Error = "build open-sesame-desktop: builder failed"
	a.Work = &run.Work{Built: 2, Fetched: 31, FetchedBytes: 121 << 20}
	a.Packages[1].Derivation, a.Packages[1].Failure.At = desktop, &run.Line{File: "src/ipc.rs", Line: 88}
	a.Mismatches = []contract.Mismatch{{
		Derivation: openssl, Specified: "sha256-AAAA=", Got: "sha256-BBBB=",
		Positions: []contract.Position{{File: "nix/package.nix", Line: 40, Text: `hash = "sha256-BBBB=";`}},
	}}
	a.Publish = &run.PublishResult{Verdict: run.Published, Cache: "scopecreep-zip", Added: 7, FileBytes: 9 << 20}
	events := []run.Event{started()}
	for _, moment := range slow() {
		events = append(events, moment.event)
	}
	return append(events, pin(run.StepFinished{Skipped: "not every system is good and published"}), finished(m))
}

func unpushed(reason string) *run.Manifest {
	m := released()
	m.Command = "warm"
	for i := range m.Cells {
		m.Cells[i].Publish = &run.PublishResult{Verdict: run.NotWanted, Reason: reason}
		for j := range m.Cells[i].Packages {
			m.Cells[i].Packages[j].Consumer = ""
			m.Cells[i].Packages[j].Outputs[0].Rebuild = run.Unknown
		}
	}
	return m
}

func cacheDown() *run.Manifest {
	m := released()
	m.Outcome = run.OutcomeUnpublished
	m.Cells[0].Publish.Pins = nil
	m.Cells[1].Publish = &run.PublishResult{
		Verdict: run.Unpublished, Cache: "scopecreep-zip", Added: 4, FileBytes: 2 << 20, Left: 8,
		Reason: "create upload: the answer is 502 Bad Gateway after 90s",
	}
	for j := range m.Cells[1].Packages {
		m.Cells[1].Packages[j].Consumer = ""
	}
	return m
}

func cancelled() *run.Manifest {
	m := unpushed("")
	m.Outcome, m.Command = run.OutcomeInterrupted, "release"
	m.Cells[0].Publish = &run.PublishResult{Verdict: run.Unpublished, Cache: "scopecreep-zip", Added: 4, Left: 8, Reason: "interrupt signal received"}
	c := &m.Cells[1]
	*c = manifest().Cells[1]
	c.Error, c.Seconds = "build: interrupt signal received", 62
	for j := range c.Packages {
		c.Packages[j] = run.PackageResult{Package: c.Packages[j].Package, Verdict: run.Failed, Failure: &run.Failure{
			Kind: run.Interrupted, Message: "interrupt signal received",
		}}
	}
	return m
}

func oneOf(m *run.Manifest) *run.Manifest {
	m.Cells, m.Outcome = m.Cells[:1], run.OutcomeFailed
	m.Cells[0].Publish.Pins = nil
	return m
}
