package report

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// systems is a row for each system: what was done, where, and how long it took.
func (s *stepSummary) systems() string {
	var rows [][]string
	for _, c := range s.cells() {
		rows = append(rows, []string{
			code(string(c.System)), s.ended(c), work(c, func(w run.Work) int { return w.Built }),
			work(c, func(w run.Work) int { return w.Fetched }), ifAny(c.Seconds), where(c), pushed(c.Publish), jobLog(c),
		})
	}
	return table([]column{
		{head: "System"},
		{head: "Result"},
		{head: "Built", number: true},
		{head: "Substituted", number: true},
		{head: "Time", number: true},
		{head: "Where"},
		{head: "Pushed", number: true},
		{head: "Log"},
	}, rows)
}

// ended is the end of a cell, and why where that is in no other table.
func (s *stepSummary) ended(c run.CellResult) string {
	switch {
	case len(c.Packages) == 0:
		return "❌ " + words(cmp.Or(strings.Join(s.warningsOf(c.System), "; "), "missing"))
	case c.Verdict == run.Failed && c.Error == "" && s.finished.Manifest.Outcome == run.OutcomeInterrupted:
		return cancelled + " not come to"
	case c.Verdict == run.Failed && slices.ContainsFunc(c.Packages, interrupted):
		return cancelled + " cancelled"
	case c.Verdict == run.Failed && c.Error == "":
		return "❌ not begun"
	}
	return signOf(isGood(c.Verdict)) + " " + words(orNotBuilt(c.Verdict))
}

// interrupted says whether a signal has ended the build of a package.
func interrupted(p run.PackageResult) bool {
	return p.Failure != nil && p.Failure.Kind == run.Interrupted
}

// work is a number of what Nix has done; empty where it was not asked.
func work(c run.CellResult, of func(run.Work) int) string {
	if c.Work == nil {
		return ""
	}
	return strconv.Itoa(of(*c.Work))
}

// where says on what a cell was built, and by how much it can be trusted to come out the same elsewhere.
func where(c run.CellResult) string {
	if c.Engine == nil {
		return ""
	}
	parts := []string{"native"}
	if c.Emulated {
		parts[0] = "QEMU"
	}
	parts = append(parts, strings.TrimSpace(c.Engine.Kind+" "+c.Engine.Version), "Nix "+c.Engine.Nix.Text)
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

// pushed is what went up: paths and bytes.
func pushed(p *run.PublishResult) string {
	if p == nil || p.Added == 0 {
		return ""
	}
	return words(fmt.Sprintf("%s, %s", count(p.Added, "path"), amount(p.FileBytes)))
}

func jobLog(c run.CellResult) string {
	if c.Job == "" {
		return ""
	}
	return link("log", c.Job)
}

// packages is a row for each package of each system.
func (s *stepSummary) packages() string {
	var rows [][]string
	for _, c := range s.cells() {
		for _, p := range c.Packages {
			rows = append(rows, []string{
				code(string(p.Package)), code(string(c.System)), builtSign(p), ifAny(p.Seconds),
				closureSize(p), words(changeSince(s.last, c.System, p)), twice(p), consumer(p),
			})
		}
	}
	text := table([]column{
		{head: "Package"},
		{head: "System"},
		{head: "Result"},
		{head: "Build", number: true},
		{head: "Closure", number: true},
		{head: "Since the last release", number: true},
		{head: "Reproducible"},
		{head: "Consumers"},
	}, rows)
	if text != "" && s.last.From != "" {
		text += "\n<sub>The last release is that of " + code(s.last.From) + ".</sub>\n"
	}
	return text
}

func builtSign(p run.PackageResult) string {
	if interrupted(p) {
		return cancelled + " " + words(string(p.Failure.Kind))
	}
	return signOf(isGood(p.Verdict)) + " " + words(orNotBuilt(p.Verdict))
}

func closureSize(p run.PackageResult) string {
	if p.ClosureBytes == 0 {
		return ""
	}
	return amount(p.ClosureBytes)
}

// twice says whether a second build was the same. No second build is no proof, and not a bad sign.
func twice(p run.PackageResult) string {
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

// consumer says what somebody with the public cache gets.
func consumer(p run.PackageResult) string {
	switch {
	case p.Consumer == run.Visible:
		return "✅ hit"
	case p.Consumer == run.NotVisible:
		return "❌ miss"
	case p.Verdict == run.Served && isWeb(p.ServedBy):
		return "✅ served"
	}
	return ""
}

// maxChecks is how many checks that have not passed a reader is shown.
const maxChecks = 100

// contract is a row for what was checked of the files and of each system, and one for each check that has not passed.
func (s *stepSummary) contract() part {
	m := s.finished.Manifest
	if m == nil {
		return part{}
	}
	var sums, rows [][]string
	add := func(of string, results []contract.Result) {
		if len(results) == 0 {
			return
		}
		counts := map[contract.Status]int{}
		for _, r := range results {
			counts[r.Status]++
			if r.Status != contract.Pass {
				rows = append(rows, []string{checkSign(r.Status) + " " + words(string(r.Status)), code(r.Check), words(of), s.reason(r)})
			}
		}
		sum := []string{signOf(counts[contract.Fail] == 0) + " " + words(of)}
		for _, status := range []contract.Status{contract.Pass, contract.Fail, contract.Warn, contract.Skip} {
			sum = append(sum, strconv.Itoa(counts[status]))
		}
		sums = append(sums, sum)
	}
	add("the flake's files", m.Contract)
	for _, c := range m.Cells {
		add(string(c.System), c.Contract)
	}
	if len(sums) == 0 {
		return part{}
	}
	short := "### Contract\n\n" + table([]column{
		{head: "Of"}, {head: "Passed", number: true}, {head: "Failed", number: true}, {head: "Warned", number: true}, {head: "Skipped", number: true},
	}, sums)
	if len(rows) == 0 {
		return part{text: short}
	}
	more := ""
	if n := len(rows) - maxChecks; n > 0 {
		rows, more = rows[:maxChecks], fmt.Sprintf("\nand %d more, in the manifest\n", n)
	}
	list := table([]column{{head: "Check"}, {head: "Promise"}, {head: "Of"}, {head: "Why, and where"}}, rows) + more
	return part{text: short + "\n" + folded("what has not passed", list), short: short + "\n<sub>What has not passed is in the manifest.</sub>\n"}
}

// reason is why a check has not passed, and the line that has to be fixed.
func (s *stepSummary) reason(r contract.Result) string {
	text := words(r.Reason)
	if place := contract.Where(r); place != "" {
		text += " (" + s.source(place, r.File, r.Line) + ")"
	}
	if r.Fix != "" && r.Status == contract.Fail {
		text += "<br>" + code(r.Fix)
	}
	return text
}

// source leads to a line of the flake, where a forge shows it. The name of a file is anybody's: one that leads out of the
// flake leads to somebody else's.
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

func checkSign(status contract.Status) string {
	switch status {
	case contract.Fail:
		return "❌"
	case contract.Warn:
		return "⚠️"
	}
	return "➖"
}
