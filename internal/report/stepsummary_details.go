package report

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// failures tell, one by one, what went wrong: with the end of the log, and the file that has all of it.
func (s *stepSummary) failures() []part {
	var parts []part
	m := s.finished.Manifest
	if m == nil {
		return nil
	}
	for _, c := range m.Cells {
		told := false // of the cell's packages
		for _, p := range c.Packages {
			if p.Failure != nil && !isGood(p.Verdict) {
				told = true
				if !interrupted(p) {
					parts = append(parts, s.failure(c, p, len(parts) == 0))
				}
			}
			if p.Difference != nil {
				parts = append(parts, difference(c, p))
			}
		}
		for _, d := range c.Downloads {
			parts = append(parts, part{text: fmt.Sprintf("❌ %s: %s: %s\n", code(string(c.System)), words(d.String()), code(downloadNames(d)))})
		}
		for _, mismatch := range c.Mismatches {
			var lines []string
			for _, place := range mismatch.Positions {
				lines = append(lines, fmt.Sprintf("%s: %s", place, place.Text))
			}
			text := fmt.Sprintf("❌ %s: a hash is wrong: %s should be %s", code(string(c.System)), code(mismatch.Specified), code(mismatch.Got))
			wrong := part{text: text + "\n"}
			if len(lines) > 0 {
				wrong = part{text: folded(text, fence(lines)) + "\n", short: text + "\n"}
			}
			parts = append(parts, wrong)
		}
		if m.Outcome == run.OutcomeInterrupted && isGood(c.Verdict) {
			continue // what was built is good, and of the push is told above
		}
		if c.Error != "" && !(told && (ofPackages(c.Error) || strings.HasPrefix(c.Error, "build:"))) && !saidBelow(c.Error) {
			parts = append(parts, part{text: "❌ " + code(string(c.System)) + ": " + code(c.Error) + "\n"})
		}
	}
	return parts
}

// saidBelow tells the errors that the table of checks, or of packages, says in full.
func saidBelow(err string) bool {
	return strings.HasPrefix(err, "check contract: ") || strings.HasPrefix(err, "rebuild ")
}

// failure is a package that was not built. The first thing that went wrong is open to be read at once.
func (s *stepSummary) failure(c run.CellResult, p run.PackageResult, first bool) part {
	fold := folded
	if first {
		fold = unfolded
	}
	head := fmt.Sprintf("❌ %s on %s: %s", code(string(p.Package)), code(string(c.System)), words(reason(p.Failure)))
	var about []string
	if at := p.Failure.At; at != nil {
		about = append(about, "at "+s.source(fmt.Sprintf("%s:%d", at.File, at.Line), at.File, at.Line))
	}
	if p.Log != "" {
		about = append(about, "whole log: "+code(logOf(s.finished.Manifest, p)))
	}
	if c.Job != "" {
		about = append(about, link("job", c.Job))
	}
	body := ""
	for _, text := range explanation(p.Failure) {
		body += code(text) + "\n\n"
	}
	if len(about) > 0 {
		body += strings.Join(about, " · ") + "\n\n"
	}
	short := fold(head, body)
	tail := s.tails[tailOf{c.System, p.Derivation}]
	if len(tail) == 0 {
		return part{text: short}
	}
	return part{text: fold(head, body+fence(tail)), short: short}
}

// logOf is the file of a package's whole log. In a manifest that was joined it has its whole path already.
func logOf(m *run.Manifest, p run.PackageResult) string {
	if m.Logs == "" {
		return p.Log
	}
	return m.Logs + "/" + p.Log
}

func difference(c run.CellResult, p run.PackageResult) part {
	head := fmt.Sprintf("❌ %s on %s: a second build was not the same", code(string(p.Package)), code(string(c.System)))
	lines := p.Difference.Files
	if len(lines) == 0 {
		lines = []string{p.Difference.Reason}
	}
	return part{text: folded(head, fence(lines)), short: head + "\n"}
}

// cost says how long machines were busy, what emulation has made of it, and what caches have saved.
func (s *stepSummary) cost() string {
	m := s.finished.Manifest
	if m == nil {
		return ""
	}
	total, machines := 0.0, []string{}
	for _, c := range m.Cells {
		total += c.Seconds
		how := "native"
		switch {
		case c.Engine == nil:
			how = "no engine"
		case c.Emulated:
			how = "QEMU"
		}
		machines = append(machines, fmt.Sprintf("%s %s (%s)", code(string(c.System)), minutes(c.Seconds), how))
	}
	if total == 0 {
		return ""
	}
	text := "**Cost**: " + strings.Join(machines, " + ")
	if len(machines) > 1 {
		text += " = " + minutes(total) + " of machines"
	}
	if slower := slowdown(m.Cells); slower > 0 {
		text += fmt.Sprintf("; the same builds took %.1f times as long under QEMU", slower)
	}
	if saved := s.saved(); saved != "" {
		text += ". **Caches** saved: " + saved
	}
	return text + ".\n"
}

// minutes is how machines are paid for; of less than one, the seconds say more.
func minutes(seconds float64) string {
	if seconds < 60 {
		return took(seconds)
	}
	return fmt.Sprintf("%.1f min", seconds/60)
}

// slowdown compares the builds of packages that one cell has built under an emulator and another natively; 0 for none.
func slowdown(cells []run.CellResult) float64 {
	native := map[string]float64{}
	for _, c := range cells {
		for _, p := range c.Packages {
			if !c.Emulated && p.Verdict == run.Built {
				native[string(p.Package)] = p.Seconds
			}
		}
	}
	emulated, same := 0.0, 0.0
	for _, c := range cells {
		for _, p := range c.Packages {
			if n := native[string(p.Package)]; c.Emulated && p.Verdict == run.Built && n > 0 {
				emulated, same = emulated+p.Seconds, same+n
			}
		}
	}
	if same == 0 {
		return 0
	}
	return emulated / same
}

// saved is what did not have to be built. How long that would have taken is known where the last release has built it.
func (s *stepSummary) saved() string {
	packages, paths, bytes, seconds := 0, 0, int64(0), 0.0
	for _, c := range s.finished.Manifest.Cells {
		if c.Work != nil {
			paths, bytes = paths+c.Work.Fetched, bytes+c.Work.FetchedBytes
		}
		for _, p := range c.Packages {
			if p.Verdict != run.Served && p.Verdict != run.Substituted {
				continue
			}
			packages++
			if before, known := lastOf(s.last, c.System, p.Package); known && before.Derivation == p.Derivation && p.Derivation != "" {
				seconds += before.Seconds
			}
		}
	}
	var parts []string
	if packages > 0 {
		text := count(packages, "package") + " from being built"
		if seconds > 0 {
			text += " (" + minutes(seconds) + " when they were built)"
		}
		parts = append(parts, text)
	}
	if paths > 0 {
		text := count(paths, "path") + " fetched, not built"
		if bytes > 0 {
			text += " (" + amount(bytes) + " of downloads)"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
