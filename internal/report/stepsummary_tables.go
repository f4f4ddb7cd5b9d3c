package report

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// systemTable has a row for each system: what was done, where, and how long it took.
func (s *stepSummary) systemTable() string {
	rows := [][]string{}
	for _, c := range s.systems {
		built, fetched, pushed, log := "", "", "", ""
		if c.Work != nil {
			built, fetched = strconv.Itoa(c.Work.Built), strconv.Itoa(c.Work.Fetched)
		}
		if c.Publish != nil && c.Publish.Added > 0 {
			pushed = fmt.Sprintf("%s, %s", run.Count(c.Publish.Added, "path"), printable.Size(c.Publish.FileBytes))
		}
		if c.Job != "" {
			log = link("log", c.Job)
		}
		rows = append(rows, []string{
			code(string(c.System)), c.result.markdown(), built, fetched, optional(c.Seconds), builtWhere(c.CellResult), pushed, log,
		})
	}
	return table("System|Result|Built:|Substituted:|Time:|Where|Pushed:|Log", rows)
}

// builtWhere names the engine of a system, and what makes its outputs less trustworthy.
func builtWhere(c run.CellResult) string {
	if c.Engine == nil {
		return ""
	}
	parts := []string{machineKind(c), strings.TrimSpace(c.Engine.Kind + " " + c.Engine.Version), "Nix " + c.Engine.Nix.Text}
	if c.Sandbox != nil && !*c.Sandbox {
		parts = append(parts, "no sandbox")
	}
	for _, m := range c.Machines {
		if m.Builder != "" && m.Built > 0 {
			parts = append(parts, fmt.Sprintf("%d on %s", m.Built, m.Builder))
		}
	}
	return words(strings.Join(parts, ", "))
}

func machineKind(c run.CellResult) string {
	switch {
	case c.Engine == nil:
		return "no engine"
	case c.Emulated:
		return "QEMU"
	}
	return "native"
}

// packageTable has a row for each package of each system.
func (s *stepSummary) packageTable() string {
	var rows [][]string
	for _, c := range s.systems {
		for _, p := range c.packages {
			closure := ""
			if p.ClosureBytes > 0 {
				closure = printable.Size(p.ClosureBytes)
			}
			rows = append(rows, []string{
				code(string(p.Package)), code(string(c.System)), p.result.markdown(), optional(p.Seconds),
				closure, words(p.change), reproducible(p.PackageResult), consumer(p.PackageResult),
			})
		}
	}
	text := table("Package|System|Result|Build:|Closure:|Since the last release:|Reproducible|Consumers", rows)
	if text != "" && s.last.From != "" {
		text += "\n<sub>The last release is that of " + code(s.last.From) + ".</sub>\n"
	}
	return text
}

// reproducible is the verdict of the second build. No second build proves nothing, and is not a bad sign.
func reproducible(p run.PackageResult) string {
	if !isGood(p.Verdict) {
		return ""
	}
	switch p.Reproducible() {
	case run.Good:
		return "✅ twice the same"
	case run.Bad:
		return "❌ differs"
	}
	return "➖ not rebuilt"
}

func consumer(p run.PackageResult) string {
	switch {
	case p.Consumer == run.NotVisible:
		return "❌ miss"
	case isHit(p):
		return "✅ " + cmp.Or(string(p.Consumer), "served")
	}
	return ""
}

// maxChecks is the most failed, warned and skipped checks that the page lists.
const maxChecks = 100

// contract has a row for the flake's files and for each system, and one for each check that has not passed.
func (s *stepSummary) contract() part {
	var sums, rows [][]string
	for _, c := range s.contracts() {
		counts := map[contract.Status]int{}
		for _, r := range c.results {
			counts[r.Status]++
		}
		sum := result{passed, cmp.Or(string(c.system), "the flake's files")}
		for _, r := range c.open {
			status := result{checkMark(r.Status), string(r.Status)}
			rows = append(rows, []string{status.markdown(), code(r.Check), words(sum.text), s.checkReason(r)})
		}
		if counts[contract.Fail] > 0 {
			sum.mark = failed
		}
		row := []string{sum.markdown()}
		for _, status := range []contract.Status{contract.Pass, contract.Fail, contract.Warn, contract.Skip} {
			row = append(row, strconv.Itoa(counts[status]))
		}
		sums = append(sums, row)
	}
	if len(sums) == 0 {
		return part{}
	}
	short := "### Contract\n\n" + table("Of|Passed:|Failed:|Warned:|Skipped:", sums)
	if len(rows) == 0 {
		return part{text: short}
	}
	more := ""
	if n := len(rows) - maxChecks; n > 0 {
		rows, more = rows[:maxChecks], fmt.Sprintf("\nand %d more, in the manifest\n", n)
	}
	list := table("Check|Requirement|Of|Reason and position", rows) + more
	return part{text: short + "\n" + details("what has not passed", list), short: short + "\n<sub>What has not passed is in the manifest.</sub>\n"}
}

// checkReason is why a check has not passed, with its line and the fix.
func (s *stepSummary) checkReason(r contract.Result) string {
	text := words(r.Reason)
	if place := contract.Where(r); place != "" {
		text += " (" + s.source(place, r.File, r.Line) + ")"
	}
	if r.Fix != "" && r.Status == contract.Fail {
		text += "<br>" + code(r.Fix)
	}
	return text
}

// source links to a line of the flake on GitHub. A file name that leads out of the flake gets no link: names are untrusted.
func (s *stepSummary) source(text, file string, line int) string {
	m := s.finished.Manifest
	path, ok := strings.CutPrefix(m.Source.URL, "github:")
	if repo, found := strings.CutSuffix(path, "/"+m.Source.Rev); ok && found && m.Source.Rev != "" && strings.Count(repo, "/") == 1 && fs.ValidPath(file) {
		place := url.URL{Scheme: "https", Host: "github.com", Path: "/" + repo + "/blob/" + m.Source.Rev + "/" + file}
		if line > 0 {
			place.Fragment = fmt.Sprintf("L%d", line)
		}
		return link(text, place.String())
	}
	return code(text)
}
