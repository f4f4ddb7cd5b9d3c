package report

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Summary writes the table of what came of each package of each cell, and below it every failure.
// Only a package that is there counts as good: one that was not come to does not.
func Summary(w io.Writer, m *run.Manifest) error {
	if err := outputOf(w).show(joinLines(style{}.summary(m, run.LastRelease{}))); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// conclusion is the end of every report.
func (s style) conclusion(e run.RunFinished, last run.LastRelease) []shown {
	if e.Manifest == nil {
		return []shown{"", s.sign(failed) + s.clean("ended after "+took(e.Seconds)+" without a result")}
	}
	lines := append([]shown{""}, s.summary(e.Manifest, last)...)
	lines[len(lines)-1] += s.clean(", in " + took(e.Seconds))
	if e.Path != "" {
		lines = append(lines, "  manifest: "+s.clean(e.Path))
	}
	return lines
}

func (s style) summary(m *run.Manifest, last run.LastRelease) []shown {
	var lines []shown
	for _, c := range m.Cells {
		lines = append(lines, s.cell(c, last)...)
	}
	lines = append(lines, s.contract("", m.Contract)...)
	for _, c := range m.Cells {
		lines = append(lines, s.contract(c.System, c.Contract)...)
	}
	for _, c := range m.Cells {
		lines = append(lines, s.failures(c, m.Logs)...)
	}
	return append(lines, s.total(m))
}

func (s style) cell(c run.CellResult, last run.LastRelease) []shown {
	head := fmt.Sprintf("%s: %s in %s", c.System, orNotBuilt(c.Verdict), took(c.Seconds))
	lines := []shown{s.paint(bold, s.clean(head)), "  " + s.clean(engineText(c))}
	for _, m := range machines(c) {
		lines = append(lines, "  "+s.clean(m))
	}
	name, verdict := 0, 0
	for _, p := range c.Packages {
		name = max(name, utf8.RuneCountInString(string(p.Package)))
		verdict = max(verdict, len(orNotBuilt(p.Verdict)))
	}
	for _, p := range c.Packages {
		row := fmt.Sprintf("%-*s  %-*s  %6s  %s", name, p.Package, verdict, orNotBuilt(p.Verdict), ifAny(p.Seconds), closure(p))
		if change := changeSince(last, c.System, p); change != "" {
			row += ", " + change + " since the last release"
		}
		lines = append(lines, "  "+s.sign(verdictMark(p.Verdict))+s.clean(strings.TrimRight(row, " ")))
		for _, o := range p.Outputs {
			lines = append(lines, "    "+s.clean(string(o.Path)+rebuilt(o)))
		}
	}
	return append(append(lines, s.publish(c)...), "")
}

// engineText says where a cell was built, and whether in a way that its outputs can be trusted to be the same elsewhere.
func engineText(c run.CellResult) string {
	where := "no engine"
	if e := c.Engine; e != nil {
		where = strings.TrimSpace(e.Kind+" "+e.Version) + ", nix " + cmp.Or(e.Nix.Text, "unknown")
	}
	sandbox := "not tried"
	if c.Sandbox != nil {
		sandbox = yesNo(*c.Sandbox)
	}
	return fmt.Sprintf("%s, sandbox: %s, emulated: %s", where, sandbox, yesNo(c.Emulated))
}

// machines says what each machine has built, where remote builders could build too.
func machines(c run.CellResult) (lines []string) {
	if !slices.ContainsFunc(c.Machines, func(m run.Machine) bool { return m.Builder != "" }) {
		return nil
	}
	for _, m := range c.Machines {
		sandbox := "not measured"
		if m.Sandbox != nil {
			sandbox = yesNo(*m.Sandbox)
		}
		lines = append(lines, fmt.Sprintf("%s: %d built, sandbox: %s, emulated: %s", cmp.Or(m.Builder, "this machine"), m.Built, sandbox, yesNo(m.Emulated)))
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
	return fmt.Sprintf("%9s in %s", amount(p.ClosureBytes), count(p.ClosurePaths, "path"))
}

// failures tells what went wrong in a cell. Logs is the directory of the logs.
func (s style) failures(c run.CellResult, logs string) []shown {
	var blocks []block
	told := slices.ContainsFunc(c.Packages, func(p run.PackageResult) bool { return p.Failure != nil })
	if c.Error != "" && !(told && ofPackages(c.Error)) {
		first, rest, _ := strings.Cut(strings.TrimSpace(c.Error), "\n")
		blocks = append(blocks, block{mark: failed, head: fmt.Sprintf("%s: %s", c.System, first), why: []string{rest}})
	}
	for _, d := range c.Downloads {
		blocks = append(blocks, block{mark: failed, head: fmt.Sprintf("%s: %s", c.System, d), why: []string{downloadNames(d)}})
	}
	for _, p := range c.Packages {
		if isGood(p.Verdict) || p.Failure == nil && p.Derivation == "" && c.Error != "" {
			continue // it was never evaluated: the error of the cell says why
		}
		b := block{mark: failed, head: fmt.Sprintf("%s %s: %s", c.System, p.Package, orNotBuilt(p.Verdict))}
		if p.Failure != nil {
			b.head = fmt.Sprintf("%s %s: %s", c.System, p.Package, reason(p.Failure))
			b.why = explanation(p.Failure)
			if p.Failure.Kind == run.BuilderFailed { // then the log says more than Nix does
				b.why = b.why[min(1, len(b.why)):]
			}
		}
		if p.Log != "" {
			b.where = "log: " + filepath.Join(logs, p.Log)
		}
		blocks = append(blocks, b)
	}
	var lines []shown
	for _, b := range blocks {
		lines = append(lines, s.render(b)...)
	}
	if len(lines) > 0 {
		lines = append(lines, "")
	}
	return lines
}

// ofPackages tells the errors of a cell of which its packages say more.
func ofPackages(err string) bool {
	return strings.HasPrefix(err, "build ") || strings.HasPrefix(err, "evaluate packages.")
}

// total counts the packages that are good and names what became of the others.
func (s style) total(m *run.Manifest) shown {
	good, all, broken := 0, 0, false
	for _, c := range m.Cells {
		broken = broken || c.Error != "" || !isGood(c.Verdict)
		for _, p := range c.Packages {
			all++
			if isGood(p.Verdict) {
				good++
			}
		}
	}
	verdict := passed
	if broken || good < all || all == 0 {
		verdict = failed
	}
	return s.sign(verdict) + s.clean(fmt.Sprintf("%d of %s good%s", good, count(all, "package"), proven(m)))
}

func isGood(v run.Verdict) bool {
	return slices.Contains([]run.Verdict{
		run.Built, run.Substituted, run.Present, run.Served,
	}, v)
}

func verdictMark(v run.Verdict) mark {
	switch {
	case isGood(v):
		return passed
	case v == "":
		return skipped
	}
	return failed
}

// orNotBuilt gives a name to what a run never came to.
func orNotBuilt(v run.Verdict) string { return cmp.Or(string(v), "not built") }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
