package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/handover"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Publication publishes what other machines have built. It starts no Nix and evaluates nothing.
type Publication struct {
	*run.Recorder
	ID       string
	Flake    string
	Closure  *handover.Closure
	Rebuilt  *run.Manifest // the joined manifest of the rebuilds; nil if there are none
	WarnOnly bool          // a difference between two builds is a warning
	Evidence run.Evidence
	Publish  publish.Publisher
	Results  Results
	// Received are the files of the results with the manifests of the builds.
	Received []string
}

// Run publishes the builds of the joined manifest, and writes that with what was done. Every step is done again if it is
// run again: what the cache has is not pushed twice, and nothing is pinned before all of it is published.
func (p *Publication) Run(ctx context.Context, m *run.Manifest) error {
	started := p.Now()
	p.Event(run.RunStarted{ID: p.ID, Flake: p.Flake, Cells: CellsOf(m)})
	p.takeOver(m)
	err := p.verify(ctx, m)
	if err == nil {
		err = p.compare(ctx, m)
	}
	if err != nil {
		p.Results.Statements = nil // nothing is stated about what is not known to be the same
		refuse(m, err)
	} else {
		err = p.checkAccess(ctx, m)
	}
	for i := range m.Cells {
		if err == nil || ctx.Err() == nil && run.OutcomeOf(err) == run.OutcomeUnpublished {
			unpublished := p.publish(ctx, m, &m.Cells[i])
			if unpublished != nil {
				m.Cells[i].Error = nix.FirstLine(unpublished.Error())
			}
			err = errors.Join(err, unpublished)
		}
	}
	err = errors.Join(err, p.Publish.PinRelease(ctx, m.Cells, err))
	if err == nil {
		err = p.Publish.CheckPinned(m.Cells)
	}
	return p.Results.finish(ctx, ending{p.Recorder, p.Closure, p.Received}, m, started, err)
}

// refuse sets the results of cells that were not verified, or not compared with rebuilds. What the build jobs say of them is
// not known to be true. A difference has its own results.
func refuse(m *run.Manifest, err error) {
	if run.OutcomeOf(err) == run.OutcomeDifferent {
		return
	}
	for i := range m.Cells {
		c := &m.Cells[i]
		c.Verdict, c.Error = run.Failed, nix.FirstLine(err.Error())
		for j := range c.Packages {
			c.Packages[j].Verdict = run.Failed
		}
	}
}

// takeOver removes from the cells what only this run may say, and describes the rebuilds as second builds.
func (p *Publication) takeOver(m *run.Manifest) {
	m.Logs = ""
	for i := range m.Cells {
		c := &m.Cells[i]
		c.Reported, c.Publish, c.Second, c.Plan, c.Error = true, nil, nil, nil, ""
		for j := range c.Packages {
			q := &c.Packages[j]
			q.Failure, q.Difference, q.Consumer, q.Log = nil, nil, "", ""
			for k := range q.Outputs {
				q.Outputs[k].Rebuild = ""
			}
		}
		if p.Rebuilt == nil {
			continue
		}
		if again, ok := p.Rebuilt.Cell(c.System); ok {
			c.Second = &run.SecondBuild{
				Engine: again.Engine, Emulated: again.Emulated, Sandbox: again.Sandbox, Seconds: again.Seconds, Machines: again.Machines, Job: again.Job,
			}
		}
	}
}

// verify compares the NARs with their narinfos, and the narinfos with the manifests.
func (p *Publication) verify(ctx context.Context, m *run.Manifest) error {
	return p.Step(ctx, run.StepVerify, "", func() (string, error) {
		if err := p.Closure.Verify(ctx, m); err != nil {
			return "", err
		}
		if err := p.Closure.CheckClaims(m); err != nil {
			return "", err
		}
		own, upstream := p.Closure.Count()
		return fmt.Sprintf("%s as their narinfos state, %d in trusted caches", run.Count(own, "path"), upstream), nil
	})
}

// compare requires that each object is the same in every build and rebuild.
func (p *Publication) compare(ctx context.Context, m *run.Manifest) error {
	return p.Step(ctx, run.StepRebuild, "", func() (string, error) {
		differ, err := p.Closure.Compare(ctx)
		if err != nil {
			return "", err
		}
		broken := p.setVerdicts(ctx, m, differ)
		switch {
		case len(broken) == 0 && p.Rebuilt == nil:
			return "", run.Skipped("--rebuild=off")
		case len(broken) == 0:
			own, _ := p.Closure.Count()
			return run.Count(own, "path") + " the same in the rebuilds", nil
		}
		for _, e := range broken {
			err = errors.Join(err, withEvidence(e))
			if p.WarnOnly {
				p.Warn(e.System, "%v", e)
			}
		}
		if p.WarnOnly {
			return run.Count(len(differ), "path") + " not the same in the rebuilds", nil
		}
		return "", err
	})
}

// maxCompared is how many objects that differ are kept and compared file by file.
const maxCompared = 10

// setVerdicts sets the verdict of each output, and returns an error for each system with a difference.
func (p *Publication) setVerdicts(ctx context.Context, m *run.Manifest, differ []handover.Difference) (broken []*RebuildError) {
	found := map[nix.StorePath]*run.Difference{}
	for i, d := range differ {
		if found[d.Path] != nil {
			continue
		}
		difference := &run.Difference{Output: d.Path, Reason: fmt.Sprintf("%s differs: NAR hash %s in %s, %s in %s",
			d.Path, d.Hashes[0].SRI(), d.First.Name, d.Hashes[1].SRI(), d.Second.Name)}
		if i < maxCompared {
			difference.Kept, difference.Files, difference.Page = p.CompareKept(ctx, p.Evidence, d.Path,
				run.KeepFrom(p.Evidence, d.First, d.Path, "first"), run.KeepFrom(p.Evidence, d.Second, d.Path, "second"))
		}
		found[d.Path] = difference
	}
	for i := range m.Cells {
		c := &m.Cells[i]
		e := &RebuildError{System: c.System}
		for j := range c.Packages {
			q := &c.Packages[j]
			if q.Difference = p.differenceOf(ctx, q, found); q.Difference != nil {
				e.Failed = append(e.Failed, *q)
			}
		}
		if len(e.Failed) > 0 {
			broken = append(broken, e)
			if !p.WarnOnly {
				c.Error = nix.FirstLine(e.Error())
			}
		}
	}
	return broken
}

// differenceOf returns the difference of an output, or else that of an object in its closure, and sets the verdicts.
func (p *Publication) differenceOf(ctx context.Context, q *run.PackageResult, found map[nix.StorePath]*run.Difference) (first *run.Difference) {
	for k := range q.Outputs {
		o := &q.Outputs[k]
		if d := found[o.Path]; d != nil {
			o.Rebuild, first = run.Bad, d
		} else if p.Rebuilt != nil && p.Closure.IsOwn(o.Path) {
			o.Rebuild = run.Good
		}
	}
	if first != nil || len(found) == 0 {
		return first
	}
	infos, _ := p.Closure.Closure(ctx, q.OutputPaths())
	i := slices.IndexFunc(infos, func(info nix.PathInfo) bool { return found[info.Path] != nil })
	if i < 0 {
		return nil
	}
	return found[infos[i].Path]
}

// checkAccess tests the credential.
func (p *Publication) checkAccess(ctx context.Context, m *run.Manifest) error {
	if p.Publish.To == nil {
		if p.Publish.Always {
			return p.Publish.Error("", errors.New(p.Publish.Disabled))
		}
		return nil
	}
	if reason := neverPublished(m); reason != "" {
		return nil // the step push says so
	}
	return p.Publish.CheckAccess(ctx)
}

// publish pushes the closure of a cell, and confirms it.
func (p *Publication) publish(ctx context.Context, m *run.Manifest, c *run.CellResult) error {
	var roots []nix.StorePath
	for _, q := range c.Packages {
		roots = append(roots, q.OutputPaths()...)
	}
	closure, err := p.Closure.Closure(ctx, roots)
	if err != nil {
		return err
	}
	err = p.Step(ctx, run.StepPush, c.System, func() (string, error) {
		verdict, reason := p.blocked(m, c)
		return pushCell(ctx, &p.Publish, c, closure, verdict, reason)
	})
	if err != nil || !c.Published() || !p.Publish.Confirm {
		return err
	}
	return p.Step(ctx, run.StepConfirm, c.System, func() (string, error) { return p.Publish.ConfirmCell(ctx, c, closure) })
}

// blocked returns why a cell must not be published, and the verdict for it. It takes a build job at its word only where
// that keeps something from being published.
func (p *Publication) blocked(m *run.Manifest, c *run.CellResult) (run.PublishVerdict, string) {
	reason := neverPublished(m)
	switch writable := c.MachinesWithWritableInputs(); {
	case p.Publish.To == nil:
		return run.NotWanted, p.Publish.Disabled
	case reason != "":
	case len(writable) > 0:
		reason = writableInputs + strings.Join(writable, " and") + ", because there are no build users"
	case c.Sandbox != nil && !*c.Sandbox && !p.Publish.Unsandboxed:
		reason = fmt.Sprintf("it was built without a sandbox%s (--push-unsandboxed publishes it all the same)", strings.Join(c.UnsandboxedMachines(), " and"))
	}
	if reason == "" {
		return "", ""
	}
	return run.Withheld, reason
}

// neverPublished returns why nothing from the source of a manifest is published; empty if it may be.
func neverPublished(m *run.Manifest) string {
	if reason := notConsumed(m.Source, len(m.Source.Overrides)); reason != "" {
		return reason
	}
	for _, in := range m.Inputs {
		if in.NARHash == "" && in.Rev == "" && !strings.HasPrefix(in.URL, "path:") {
			return "not locked: " + in.Name + ": it may change at any time"
		}
	}
	return ""
}

// CellsOf returns the cells of a manifest.
func CellsOf(m *run.Manifest) (cells []matrix.Cell) {
	for _, c := range m.Cells {
		cell := matrix.Cell{System: c.System}
		for _, p := range c.Packages {
			cell.Packages = append(cell.Packages, p.Package)
		}
		cells = append(cells, cell)
	}
	return cells
}
