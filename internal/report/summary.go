package report

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

func (s style) conclusion(v *view) []shown {
	e := v.finished
	if e.Manifest == nil {
		return []shown{"", s.sign(failed) + s.clean("ended after "+duration(e.Seconds)+" without a result")}
	}
	lines := append([]shown{""}, s.summary(v)...)
	lines[len(lines)-1] += s.clean(", in " + duration(e.Seconds))
	if e.Path != "" {
		lines = append(lines, "  manifest: "+s.clean(e.Path))
	}
	return lines
}

// summary is the table of the packages of each system, the checks that have not passed, the failures, and the total.
func (s style) summary(v *view) []shown {
	m := v.finished.Manifest
	systems := v.systems[:len(m.Cells)]
	var lines []shown
	for _, c := range systems {
		lines = append(lines, s.system(c)...)
	}
	for _, c := range v.contracts() {
		lines = append(lines, s.contract(c)...)
	}
	total := v.buildMark()
	for _, c := range systems {
		if (c.Error != "" || !isGood(c.Verdict)) && total != cancelled {
			total = failed
		}
		blocks := v.failureBlocks(c)
		for _, b := range blocks {
			lines = append(lines, s.render(b)...)
		}
		if len(blocks) > 0 {
			lines = append(lines, "")
		}
	}
	text := fmt.Sprintf("%d of %s good", v.packages.good, run.Count(v.packages.all, "package"))
	if v.compared > 0 {
		text += fmt.Sprintf(", %d of %s reproducible", v.rebuilt.good, run.Count(v.rebuilt.all, "output"))
	}
	switch m.Outcome {
	case "", run.OutcomeGood, run.OutcomeInterrupted: // an interrupt has a mark of its own
	default:
		if total == passed {
			total, text = failed, text+", but a step of the run failed"
		}
	}
	return append(lines, s.sign(total)+s.clean(text))
}

func (s style) system(c systemView) []shown {
	verdict := verdictResult(c.Verdict)
	if c.result.mark == cancelled {
		verdict = c.result
	}
	head := fmt.Sprintf("%s: %s in %s", c.System, verdict.text, duration(c.Seconds))
	lines := []shown{s.paint(bold, s.clean(head)), "  " + s.clean(engineText(c.CellResult))}
	for _, m := range machines(c.CellResult) {
		lines = append(lines, "  "+s.clean(m))
	}
	name, width := 0, 0
	for _, p := range c.packages {
		name = max(name, utf8.RuneCountInString(string(p.Package)))
		width = max(width, len(p.result.text))
	}
	for _, p := range c.packages {
		row := fmt.Sprintf("%-*s  %-*s  %6s  %s", name, p.Package, width, p.result.text, optional(p.Seconds), closure(p.PackageResult))
		if p.change != "" {
			row += ", " + p.change + " since the last release"
		}
		lines = append(lines, "  "+s.sign(p.result.mark)+s.clean(strings.TrimRight(row, " ")))
		for _, o := range p.Outputs {
			if p.result.mark == cancelled {
				break
			}
			text := string(o.Path)
			if o.Rebuild != "" {
				text += "  " + strings.ToUpper(string(o.Rebuild))
			}
			lines = append(lines, "    "+s.clean(text))
		}
	}
	if c.publish != nil {
		lines = append(lines, s.publish(c))
	}
	return append(lines, "")
}

// publish is the second verdict of a system: a build can be good and a cache be down.
func (s style) publish(c systemView) shown {
	p := c.publish
	text := strings.TrimSpace(p.verb+" "+p.cache) + p.rest + p.sent
	if reason, _ := firstLine(p.reason); p.mark != passed {
		text += ": " + reason
	}
	if seen := consumers(c.packages); seen != "" {
		text += "; " + seen
	}
	return "  " + s.rowSign(p.mark) + s.clean(text)
}

// engineText names where a system was built, and the properties that decide whether others get the same outputs.
func engineText(c run.CellResult) string {
	where := "no engine"
	if e := c.Engine; e != nil {
		where = strings.TrimSpace(e.Kind+" "+e.Version) + ", nix " + cmp.Or(e.Nix.Text, "unknown")
	}
	return fmt.Sprintf("%s, sandbox: %s, emulated: %s", where, yesNo(c.Sandbox, "not tried"), yesNo(&c.Emulated, ""))
}

// machines lists the builds of each machine if there are remote builders.
func machines(c run.CellResult) (lines []string) {
	if !slices.ContainsFunc(c.Machines, func(m run.Machine) bool { return m.Builder != "" }) {
		return nil
	}
	for _, m := range c.Machines {
		lines = append(lines, fmt.Sprintf("%s: %d built, sandbox: %s, emulated: %s",
			cmp.Or(m.Builder, "this machine"), m.Built, yesNo(m.Sandbox, "not measured"), yesNo(&m.Emulated, "")))
	}
	return lines
}

func closure(p run.PackageResult) string {
	if p.ServedBy != "" {
		return "by " + p.ServedBy
	}
	if p.ClosurePaths == 0 {
		return ""
	}
	return fmt.Sprintf("%9s in %s", printable.Size(p.ClosureBytes), run.Count(p.ClosurePaths, "path"))
}

// failureBlocks are the failures of a system. The end of a step has told its error already.
func (v *view) failureBlocks(c systemView) (blocks []block) {
	isTold := func(e run.StepFinished) bool { return e.System == c.System && e.Error == c.err }
	if c.err != "" && !slices.ContainsFunc(v.failedSteps, isTold) {
		first, rest := firstLine(c.err)
		blocks = append(blocks, block{mark: failed, head: fmt.Sprintf("%s: %s", c.System, first), why: rest})
	}
	for _, d := range c.Downloads {
		blocks = append(blocks, block{mark: failed, head: fmt.Sprintf("%s: %s", c.System, d), why: []string{namesOf(d.Derivations)}})
	}
	for _, p := range c.packages {
		if isGood(p.Verdict) || p.result.mark == cancelled || p.Failure == nil && p.Derivation == "" && c.Error != "" {
			continue // the error of the system explains why a package was not evaluated
		}
		b := block{mark: failed, head: fmt.Sprintf("%s %s: %s", c.System, p.Package, p.result.text)}
		if p.Failure != nil {
			b.head = fmt.Sprintf("%s %s: %s", c.System, p.Package, reason(p.Failure))
			b.why = explanation(p.Failure)
			if p.Failure.Kind == run.BuilderFailed { // then the log says more than Nix does
				b.why = b.why[min(1, len(b.why)):]
			}
		}
		if p.Log != "" {
			b.where = "log: " + filepath.Join(v.finished.Manifest.Logs, p.Log)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func yesNo(b *bool, unknown string) string {
	switch {
	case b == nil:
		return unknown
	case *b:
		return "yes"
	}
	return "no"
}
