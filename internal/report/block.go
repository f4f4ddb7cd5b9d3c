package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// block is something that happened, told in lines that belong together.
// Its text is as the events have it; only render makes it fit to be shown.
type block struct {
	mark  mark
	head  string
	why   []string // the reason or the advice
	log   []string // the end of a log
	where string   // the file to read on in

	file string // of the flake, where the block is about a line of it
	line int

	system matrix.System
	step   run.Step // that it is a part of; empty where it is none's
	ends   run.Step // whose end it is; empty where it is none's
	mute   bool     // is no annotation: what it is about is one already
}

// folds tells whether the headline says all that most readers want to know.
func (b block) folds() bool { return b.mark == passed }

const (
	failureTail = 25
	stallTail   = 5
)

// blockOf tells e, and false where there is nothing to tell of it yet.
func (p *progress) blockOf(e run.Event) (block, bool) {
	switch e := e.(type) {
	case run.RunStarted:
		return runBlock(e), true
	case run.StepFinished:
		b := stepBlock(e)
		if e.Step == run.StepPlan {
			b.log = planned(p.row(e.System).plan)
		}
		return b, true
	case run.PackageFailed:
		return p.within(e.System, packageBlock(e)), true
	case run.BuildFinished:
		if f := e.Failure; f != nil && f.Kind == run.DownloadFailed && p.row(e.System).failedDownloads[f.Reason] > 1 {
			return block{}, false // they are summed up when the step ends
		}
		return p.within(e.System, buildBlock(e)), true
	case run.DownloadsFailed:
		return p.within(e.System, downloadsBlock(e)), len(e.Derivations) > 1
	case run.BuildStalled:
		return p.within(e.System, p.stallBlock(e)), true
	case run.Notice:
		return noticeBlock(e), true
	}
	return block{}, false
}

// within notes which step of its system a block is a part of.
func (p *progress) within(system matrix.System, b block) block {
	b.system, b.step = system, p.row(system).running()
	return b
}

func runBlock(e run.RunStarted) block {
	b := block{head: fmt.Sprintf("run %s of %s", e.ID, e.Flake)}
	for _, c := range e.Cells {
		b.why = append(b.why, fmt.Sprintf("%-13s  %s", c.System, join(c.Packages, ", ")))
	}
	return b
}

func stepBlock(e run.StepFinished) block {
	m, text, why, seconds := passed, e.Summary, []string(nil), duration(e.Seconds)
	switch {
	case e.Error != "":
		m = failed
		first, rest, _ := strings.Cut(strings.TrimSpace(e.Error), "\n")
		text = "failed: " + first
		if e.Summary != "" {
			text = e.Summary + "; " + text
		}
		if rest != "" {
			why = []string{rest}
		}
	case e.Skipped != "":
		m, text, seconds = skipped, "skipped: "+e.Skipped, optional(e.Seconds)
	}
	b := block{mark: m, head: headline(string(e.Step), string(e.System), seconds, text), why: why, system: e.System, ends: e.Step}
	if e.At != nil {
		b.file, b.line = e.At.File, e.At.Line
	}
	return b
}

// packageBlock is a package that cannot be built, with what Nix says of it.
func packageBlock(e run.PackageFailed) block {
	text := fmt.Sprintf("%s: %s", e.Package, reason(&e.Failure))
	b := block{mark: failed, head: headline("failed", string(e.System), "", text), why: []string{e.Text}}
	if at := e.Failure.At; at != nil {
		b.file, b.line = at.File, at.Line
	}
	return b
}

func buildBlock(e run.BuildFinished) block {
	b := block{mark: passed, log: last(e.Tail, failureTail)}
	what, text := "built", nameOf(e.Derivation)
	if e.Machine != "" {
		text += " on " + e.Machine
	}
	if f := e.Failure; f != nil {
		b.mark, what = failed, "failed"
		text += ": " + reason(f)
		b.why = explanation(f)
		if f.At != nil {
			b.file, b.line = f.At.File, f.At.Line
		}
	}
	if e.Log != "" {
		b.where = "log: " + e.Log
	}
	b.head = headline(what, string(e.System), duration(e.Seconds), text)
	return b
}

// explanation is Nix's own reason, and what else was seen.
func explanation(f *run.Failure) []string {
	return slices.DeleteFunc([]string{f.Message, f.Remark}, func(text string) bool { return text == "" })
}

// downloadsBlock sums up downloads that failed for the same reason. They are at no line of the flake.
func downloadsBlock(e run.DownloadsFailed) block {
	return block{
		mark: failed, head: headline("failed", string(e.System), "", e.String()), why: []string{downloadNames(e.FailedDownloads)},
	}
}

// namedDownloads is how many of many downloads are named.
const namedDownloads = 5

func downloadNames(d run.FailedDownloads) string {
	var names []string
	for _, drv := range d.Derivations[:min(len(d.Derivations), namedDownloads)] {
		names = append(names, nameOf(drv))
	}
	text := strings.Join(names, ", ")
	if more := len(d.Derivations) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (p *progress) stallBlock(e run.BuildStalled) block {
	b := block{mark: warning, log: last(e.Tail, stallTail)}
	b.head = fmt.Sprintf("%s has said nothing for %s", prefix(e.System, e.Derivation), elapsed(e.Silent))
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
	first, rest, _ := strings.Cut(strings.TrimSpace(e.Text), "\n")
	b.head = first
	if e.System != "" {
		b.head = string(e.System) + ": " + first
	}
	if rest != "" {
		b.why = append(b.why, rest)
	}
	if e.Hint != "" {
		b.why = append(b.why, "hint: "+e.Hint)
	}
	return b
}

// lineBlock is a line of a build's log on its own, as -v prints it.
func lineBlock(e run.BuildLine) block {
	return block{head: prefix(e.System, e.Derivation) + "> " + atEnd(e.Text)}
}

// render returns the lines of b, safe to be shown.
func (s style) render(b block) []shown {
	lines := []shown{s.sign(b.mark) + s.clean(b.head)}
	for _, text := range b.why {
		for line := range strings.Lines(text) {
			lines = append(lines, "  "+s.clean(line))
		}
	}
	for _, text := range b.log {
		lines = append(lines, "  "+s.paint(dim, s.bar()+s.clean(atEnd(text))))
	}
	if b.where != "" {
		lines = append(lines, "  "+s.clean(b.where))
	}
	return lines
}

// reason says in a few words why a build failed: "builder failed in checkPhase, exit code 101".
func reason(f *run.Failure) string {
	text := string(f.Kind)
	if text == "" {
		text = string(run.UnknownFailure)
	}
	if f.Reason != "" {
		return text + ": " + f.Reason
	}
	if f.Phase != "" {
		text += " in " + f.Phase
	}
	if f.ExitCode != 0 {
		text += fmt.Sprintf(", exit code %d", f.ExitCode)
	}
	return text
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

func join[T ~string](words []T, sep string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(string(w))
	}
	return b.String()
}
