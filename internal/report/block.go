package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// block is a report of one thing that happened, in lines that belong together.
// Its text is the unclean text of the events; render cleans it.
type block struct {
	mark  mark
	head  string
	why   []string // the reason or the advice
	log   []string // the end of a log
	where string   // the file with the whole log
	at    *run.Line

	system matrix.System
	step   run.Step // the block is a part of this step; empty for none
	ends   run.Step // the block is the end of this step; empty for none
	mute   bool     // the same failure has an annotation already
}

// collapsible reports whether the headline is enough for most readers.
func (b block) collapsible() bool { return b.mark == passed }

const (
	failureTail = 25
	stallTail   = 5
)

// blockOf returns the block of an event, and false if there is nothing to report yet.
func (p *progress) blockOf(e run.Event) (block, bool) {
	switch e := e.(type) {
	case run.RunStarted:
		return runBlock(e), true
	case run.StepFinished:
		b := stepBlock(e)
		if e.Step == run.StepPlan {
			b.log = planned(p.row(e.System).plan)
		}
		if cancelled := p.row(e.System).cancelled; len(cancelled) > 0 {
			b.why = append(b.why, "cancelled: "+namesOf(cancelled))
		}
		return b, true
	case run.PackageFailed:
		return p.within(e.System, packageBlock(e)), true
	case run.BuildFinished:
		r := p.row(e.System)
		if f := e.Failure; f != nil && (f.Kind == run.Interrupted || f.Kind == run.DownloadFailed && r.failedDownloads[f.Reason] > 1) {
			return block{}, false // a later event sums them up
		}
		return p.within(e.System, buildBlock(e, r.running())), true
	case run.DownloadsFailed:
		return p.within(e.System, downloadsBlock(e)), len(e.Derivations) > 1
	case run.BuildStalled:
		return p.within(e.System, p.stallBlock(e)), true
	case run.Notice:
		return noticeBlock(e), true
	}
	return block{}, false
}

// within sets the running step of a system as the step of a block.
func (p *progress) within(system matrix.System, b block) block {
	b.system, b.step = system, p.row(system).running()
	return b
}

func runBlock(e run.RunStarted) block {
	b := block{head: fmt.Sprintf("run %s of %s", e.ID, e.Flake)}
	for _, c := range e.Cells {
		b.why = append(b.why, fmt.Sprintf("%-13s  %s", c.System, cmp.Or(run.Joined(c.Packages), "all packages")))
	}
	return b
}

func stepBlock(e run.StepFinished) block {
	m, text, why, seconds := passed, e.Summary, []string(nil), duration(e.Seconds)
	switch {
	case e.Interrupted:
		m, text = cancelled, "interrupted: "+strings.TrimPrefix(e.Error, string(e.Step)+": ")
	case e.Error != "":
		m = failed
		text, why = firstLine(e.Error)
		text = "failed: " + text
		if e.Summary != "" {
			text = e.Summary + "; " + text
		}
	case e.Skipped != "":
		m, text, seconds = skipped, "skipped: "+e.Skipped, optional(e.Seconds)
	}
	head := headline(string(e.Step), string(e.System), seconds, text)
	return block{mark: m, head: head, why: why, at: e.At, system: e.System, ends: e.Step}
}

func packageBlock(e run.PackageFailed) block {
	text := fmt.Sprintf("%s: %s", e.Package, reason(&e.Failure))
	return block{mark: failed, head: headline("failed", string(e.System), "", text), why: []string{e.Text}, at: e.Failure.At}
}

func buildBlock(e run.BuildFinished, step run.Step) block {
	b := block{mark: passed, log: last(e.Tail, failureTail)}
	what, text := "built", nameOf(e.Derivation)
	if step == run.StepRebuild {
		what = "rebuilt"
	}
	if e.Machine != "" {
		text += " on " + e.Machine
	}
	if f := e.Failure; f != nil {
		b.mark, what = failed, "failed"
		text += ": " + reason(f)
		b.why, b.at = explanation(f), f.At
	}
	if e.Log != "" {
		b.where = "log: " + e.Log
	}
	b.head = headline(what, string(e.System), duration(e.Seconds), text)
	return b
}

// explanation is Nix's own reason, and other observations.
func explanation(f *run.Failure) []string {
	return slices.DeleteFunc([]string{f.Message, f.Remark}, func(text string) bool { return text == "" })
}

func downloadsBlock(e run.DownloadsFailed) block {
	return block{
		mark: failed, head: headline("failed", string(e.System), "", e.String()), why: []string{namesOf(e.Derivations)},
	}
}

const maxNames = 5

// namesOf returns the names of the first derivations, and the number of the others.
func namesOf(drvs []nix.StorePath) string {
	var names []string
	for _, drv := range drvs[:min(len(drvs), maxNames)] {
		names = append(names, nameOf(drv))
	}
	text := strings.Join(names, ", ")
	if more := len(drvs) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (p *progress) stallBlock(e run.BuildStalled) block {
	b := block{mark: warning, log: last(e.Tail, stallTail)}
	b.head = fmt.Sprintf("%s has printed nothing for %s", prefix(e.System, e.Derivation), elapsed(e.Silent))
	if running := p.row(e.System).find(e.Derivation); running != nil && running.phase != "" {
		b.head += " in " + running.phase
	}
	return b
}

func noticeBlock(e run.Notice) block {
	b := block{mark: note}
	if e.Level == run.Warning {
		b.mark = warning
	}
	b.head, b.why = firstLine(e.Text)
	if e.System != "" {
		b.head = string(e.System) + ": " + b.head
	}
	if e.Hint != "" {
		b.why = append(b.why, "hint: "+e.Hint)
	}
	return b
}

func lineBlock(e run.BuildLine) block {
	return block{head: prefix(e.System, e.Derivation) + "> " + printable.LastDrawn(e.Text)}
}

func firstLine(text string) (first string, rest []string) {
	first, others, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if others != "" {
		rest = []string{others}
	}
	return first, rest
}

func (s style) render(b block) []shown {
	lines := []shown{s.sign(b.mark) + s.clean(b.head)}
	for _, text := range b.why {
		for line := range strings.Lines(text) {
			lines = append(lines, "  "+s.clean(line))
		}
	}
	for _, text := range b.log {
		lines = append(lines, "  "+s.paint(dim, s.bar()+s.clean(printable.LastDrawn(text))))
	}
	if b.where != "" {
		lines = append(lines, "  "+s.clean(b.where))
	}
	return lines
}

// reason is why a build failed, in a few words: "builder failed in checkPhase, exit code 101".
func reason(f *run.Failure) string {
	known := *f
	known.Kind = cmp.Or(f.Kind, run.UnknownFailure)
	if f.Reason != "" {
		return string(known.Kind) + ": " + f.Reason
	}
	return known.Ending()
}

func planned(plan run.Plan) []string {
	var lines []string
	for _, drv := range plan.Build {
		lines = append(lines, "build "+nameOf(drv))
	}
	for _, path := range plan.Fetch {
		lines = append(lines, "fetch "+nameOf(path))
	}
	return lines
}

func prefix(system matrix.System, drv nix.StorePath) string {
	return string(system) + "/" + nameOf(drv)
}

func last(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }
