package report

import (
	"fmt"
	"path"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// failures has a part for each failure, with the end of its log.
func (s *stepSummary) failures() (parts []part) {
	if s.finished.Manifest == nil {
		return nil
	}
	for _, c := range s.systems {
		system := code(string(c.System))
		for _, p := range c.packages {
			if p.Failure != nil && !isGood(p.Verdict) && !interrupted(p.PackageResult) {
				parts = append(parts, s.failure(c, p, len(parts) == 0))
			}
			if d := p.Difference; d != nil {
				lines := d.Files
				if len(lines) == 0 {
					lines = []string{d.Reason}
				}
				head := fmt.Sprintf("❌ %s on %s: a second build was not the same", code(string(p.Package)), system)
				parts = append(parts, part{text: details(head, fence(lines)), short: head + "\n"})
			}
		}
		for _, d := range c.Downloads {
			parts = append(parts, part{text: fmt.Sprintf("❌ %s: %s: %s\n", system, words(d.String()), code(namesOf(d.Derivations)))})
		}
		for _, m := range c.Mismatches {
			parts = append(parts, mismatch(c.System, m))
		}
		if s.finished.Manifest.Outcome == run.OutcomeInterrupted && isGood(c.Verdict) {
			continue // the build is good, and the head has the error of publishing
		}
		// The tables have the errors of checks and second builds.
		if c.err != "" && !strings.HasPrefix(c.err, "check contract: ") && !strings.HasPrefix(c.err, "rebuild ") {
			parts = append(parts, part{text: "❌ " + system + ": " + code(c.err) + "\n"})
		}
	}
	return parts
}

// mismatch is a wrong hash with the lines of the flake that have it.
func mismatch(system matrix.System, m contract.Mismatch) part {
	text := fmt.Sprintf("❌ %s: a hash is wrong: %s should be %s", code(string(system)), code(m.Specified), code(m.Got))
	var lines []string
	for _, position := range m.Positions {
		lines = append(lines, fmt.Sprintf("%s: %s", position, position.Text))
	}
	if len(lines) == 0 {
		return part{text: text + "\n"}
	}
	return part{text: details(text, fence(lines)) + "\n", short: text + "\n"}
}

// failure is a package that was not built. The page opens the first one.
func (s *stepSummary) failure(c systemView, p packageView, open bool) part {
	head := fmt.Sprintf("❌ %s on %s: %s", code(string(p.Package)), code(string(c.System)), words(reason(p.Failure)))
	body := ""
	for _, text := range explanation(p.Failure) {
		body += code(text) + "\n\n"
	}
	var about []string
	if at := p.Failure.At; at != nil {
		about = append(about, "at "+s.source(fmt.Sprintf("%s:%d", at.File, at.Line), at.File, at.Line))
	}
	if p.Log != "" {
		// The path in a joined manifest, which has no directory of logs, is complete.
		about = append(about, "whole log: "+code(path.Join(s.finished.Manifest.Logs, p.Log)))
	}
	if c.Job != "" {
		about = append(about, link("job", c.Job))
	}
	if len(about) > 0 {
		body += strings.Join(about, " · ") + "\n\n"
	}
	fold := func(body string) string {
		text := details(head, body)
		if open {
			text = strings.Replace(text, "<details>", "<details open>", 1)
		}
		return text
	}
	tail := s.tails[tailKey{c.System, p.Derivation}]
	if len(tail) == 0 {
		return part{text: fold(body)}
	}
	return part{text: fold(body + fence(tail)), short: fold(body)}
}

// cost is how long the machines were busy, how much slower emulation was, and what caches have saved.
func (s *stepSummary) cost() string {
	m := s.finished.Manifest
	if m == nil {
		return ""
	}
	total, machines := 0.0, []string{}
	for _, c := range m.Cells {
		total += c.Seconds
		machines = append(machines, fmt.Sprintf("%s %s (%s)", code(string(c.System)), minutes(c.Seconds), machineKind(c)))
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

// minutes is the unit in which machines are paid for. Times below one minute are in seconds.
func minutes(seconds float64) string {
	if seconds < 60 {
		return duration(seconds)
	}
	return fmt.Sprintf("%.1f min", seconds/60)
}

// slowdown compares packages that one system has built under an emulator and another natively; 0 if there are none.
func slowdown(cells []run.CellResult) float64 {
	native, emulated := map[matrix.Package]float64{}, []run.PackageResult{}
	for _, c := range cells {
		for _, p := range c.Packages {
			switch {
			case p.Verdict != run.Built:
			case c.Emulated:
				emulated = append(emulated, p)
			default:
				native[p.Package] = p.Seconds
			}
		}
	}
	slow, fast := 0.0, 0.0
	for _, p := range emulated {
		if n := native[p.Package]; n > 0 {
			slow, fast = slow+p.Seconds, fast+n
		}
	}
	if fast == 0 {
		return 0
	}
	return slow / fast
}

// saved is what did not have to be built, with the seconds that its build took in the last release, if they are known.
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
			if before, known := inLastRelease(s.last, c.System, p.Package); known && before.Derivation == p.Derivation && p.Derivation != "" {
				seconds += before.Seconds
			}
		}
	}
	var parts []string
	if packages > 0 {
		text := run.Count(packages, "package") + " from being built"
		if seconds > 0 {
			text += " (" + minutes(seconds) + " when they were built)"
		}
		parts = append(parts, text)
	}
	if paths > 0 {
		text := run.Count(paths, "path") + " fetched, not built"
		if bytes > 0 {
			text += " (" + printable.Size(bytes) + " of downloads)"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
