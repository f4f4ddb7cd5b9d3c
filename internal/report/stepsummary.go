package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// stepSummary is the page that GitHub shows of a step: verdicts first, then tables, then what went wrong, then the cost.
type stepSummary struct {
	*record
	run string // the web page of the whole run; empty where there is none
}

// part is a part of the page, and what may stand in its place where there is too little room. One of lines, such as the
// rows of a table, may end after any of them but the first two; of another, a half would take in what follows it.
type part struct {
	text, short string
	lines       bool
}

// parts are the page from top to bottom.
func (s *stepSummary) parts() []part {
	parts := []part{{text: s.head(), lines: true}, {text: s.systems(), lines: true}, {text: s.packages(), lines: true}}
	parts = append(parts, s.failures()...)
	parts = append(parts, s.contract(), part{text: s.cost()}, part{text: s.foot()})
	return slices.DeleteFunc(parts, func(p part) bool { return p.text == "" })
}

// fit returns the page in at most so many bytes. What is longest in reading and least in meaning goes first: the list of
// checks, then the ends of logs, from the last one. What is left of a page that is too long even so has an end.
func (s *stepSummary) fit(room int) string {
	parts := s.parts()
	length := 0
	for _, p := range parts {
		length += len(p.text) + len("\n")
	}
	for i := len(parts) - 1; i >= 0 && length > room; i-- {
		if less := len(parts[i].text) - len(parts[i].short); parts[i].short != "" && less > 0 {
			parts[i].text = parts[i].short
			length -= less
		}
	}
	if length <= room {
		return beginning(parts, room)
	}
	const end = "\n**The rest is left out**: GitHub takes no more. It is in the manifest and in the log.\n"
	if text := beginning(parts, room-len(end)); text != "" {
		return text + end
	}
	return ""
}

// beginning returns as many of the parts as there is room for, and the first lines of the one after them, if it is of lines.
func beginning(parts []part, room int) string {
	var b strings.Builder
	for _, p := range parts {
		left := room - b.Len()
		if len(p.text)+len("\n") > left {
			if p.lines {
				b.WriteString(firstLines(p.text, left))
			}
			break
		}
		b.WriteString(p.text + "\n")
	}
	return b.String()
}

// firstLines returns the whole lines that there is room for; none where they are but the head of a table.
func firstLines(text string, room int) string {
	text = text[:strings.LastIndexByte(text[:max(room, 0)], '\n')+1]
	if strings.Count(text, "\n") <= 2 {
		return ""
	}
	return text
}

// head is the two verdicts: a build can be good, and a cache be down.
func (s *stepSummary) head() string {
	m := s.finished.Manifest
	title := s.title()
	lines := []string{"## " + title.sign + " " + title.text, ""}
	if m != nil {
		about := []string{words(m.Command) + " of " + code(m.Source.URL)}
		if m.Source.Dirty {
			about[0] += ", with uncommitted changes"
		}
		about = append(about, took(s.elapsed()))
		lines = append(lines, strings.Join(about, " · "), "")
	}
	good, all := s.counts()
	build := fmt.Sprintf("%d of %s good", good, count(all, "package"))
	if all == 0 {
		build = "nothing was built"
	}
	sign := signOf(good == all && all > 0)
	if good < all && m != nil && m.Outcome == run.OutcomeInterrupted {
		sign = cancelled
	}
	if m != nil || all > 0 { // else the title says so
		lines = append(lines, "- **Build** "+sign+" "+build)
	}
	lines = append(lines, s.publishing()...)
	for _, f := range s.outside() {
		lines = append(lines, "- **"+words(string(f.Step))+"** ❌ "+code(f.Error))
	}
	for _, text := range s.warningsOf("") {
		lines = append(lines, "- ⚠️ "+words(text))
	}
	return strings.Join(lines, "\n") + "\n"
}

// elapsed is how long it took: this run, or all that its manifest was joined from.
func (s *stepSummary) elapsed() float64 {
	begin, err := time.Parse(time.RFC3339, s.finished.Manifest.Started)
	end, endErr := time.Parse(time.RFC3339, s.finished.Manifest.Finished)
	if err != nil || endErr != nil {
		return s.finished.Seconds
	}
	return max(s.finished.Seconds, end.Sub(begin).Seconds())
}

// cancelled is the sign of what a signal has ended: it is not known how it would have come out.
const cancelled = "⏹️"

// verdict is a sign and a few words.
type verdict struct{ sign, text string }

func (s *stepSummary) title() verdict {
	m := s.finished.Manifest
	switch {
	case m == nil && len(s.failed) > 0:
		return verdict{"❌", "Nothing was built"}
	case m == nil:
		return verdict{"❌", "No system has left a result"}
	}
	published := slices.ContainsFunc(m.Cells, func(c run.CellResult) bool {
		return c.Publish != nil && c.Publish.Verdict == run.Published
	})
	switch m.Outcome {
	case run.OutcomeGood:
		switch {
		case slices.ContainsFunc(m.Cells, func(c run.CellResult) bool { return c.Publish != nil && len(c.Publish.Pins) > 0 }):
			return verdict{"✅", "Released"}
		case published:
			return verdict{"✅", "Built and published"}
		}
		return verdict{"✅", "Built"}
	case run.OutcomeUnpublished:
		return verdict{"⚠️", "Built, and not published"}
	case run.OutcomeDifferent:
		return verdict{"❌", "Built, and not reproducible"}
	case run.OutcomeContract:
		return verdict{"❌", "The contract is broken"}
	case run.OutcomeInterrupted:
		return verdict{cancelled, "Cancelled: this was done until then"}
	}
	if lost := s.lost(); len(lost) > 0 {
		return verdict{"❌", "No result of " + words(strings.Join(lost, ", "))}
	}
	if good, all := s.counts(); good < all {
		return verdict{"❌", fmt.Sprintf("%d of %s failed", all-good, count(all, "package"))}
	}
	return verdict{"❌", "Failed"}
}

// counts counts the packages that are good, and all that there should be.
func (s *stepSummary) counts() (good, all int) {
	for _, c := range s.cells() {
		for _, p := range c.Packages {
			all++
			if isGood(p.Verdict) {
				good++
			}
		}
	}
	for _, c := range s.started.Cells {
		if slices.Contains(s.lost(), string(c.System)) {
			all += len(c.Packages)
		}
	}
	return good, all
}

// lost are the systems that should have a result and have none.
func (s *stepSummary) lost() []string {
	var systems []string
	for _, c := range s.cells() {
		if len(c.Packages) == 0 {
			systems = append(systems, string(c.System))
		}
	}
	return systems
}

// publishing says of the cache what became of each system; systems of which the same is true share a line.
func (s *stepSummary) publishing() []string {
	var texts []string
	of := map[string][]string{}
	total := 0
	for _, c := range s.cells() {
		if c.Publish == nil {
			continue
		}
		total++
		text := published(*c.Publish)
		if of[text] == nil {
			texts = append(texts, text)
		}
		of[text] = append(of[text], string(c.System))
	}
	var lines []string
	for _, text := range texts {
		line := "- **Publish** " + text
		if len(of[text]) < total {
			line += " (" + words(strings.Join(of[text], ", ")) + ")"
		}
		lines = append(lines, line)
	}
	if s.pinning != nil {
		lines = append(lines, "- **Pin** "+pinned(*s.pinning))
	}
	return lines
}

func published(p run.PublishResult) string {
	to := " to " + code(p.Cache)
	switch p.Verdict {
	case run.Published:
		return "✅ published" + to
	case run.NotWanted:
		return "➖ nothing was pushed: " + words(p.Reason)
	case run.Withheld:
		return "⚠️ withheld: " + words(p.Reason)
	case run.Unpublished:
		return fmt.Sprintf("⚠️ not published%s, %s left: %s", to, count(p.Left, "path"), code(p.Reason))
	}
	return fmt.Sprintf("⚠️ %s%s: %s", words(string(p.Verdict)), to, code(p.Reason))
}

func pinned(f run.StepFinished) string {
	switch {
	case f.Error != "":
		return "⚠️ " + code(f.Error)
	case f.Skipped != "":
		return "➖ none: " + words(f.Skipped)
	}
	return "✅ " + words(f.Summary)
}

// outside are the steps that failed and belong to no system. Of pinning is told already, and of the contract in its table.
func (s *stepSummary) outside() []run.StepFinished {
	return slices.DeleteFunc(slices.Clone(s.failed), func(f run.StepFinished) bool {
		return f.System != "" || f.Step == run.StepPin || f.Step == run.StepContract
	})
}

// foot leads to the logs.
func (s *stepSummary) foot() string {
	var parts []string
	if s.run != "" {
		parts = append(parts, link("run", s.run), link("artifacts", s.run+"#artifacts"))
	}
	if m := s.finished.Manifest; m != nil {
		parts = append(parts, words(m.Tool))
	}
	if s.finished.Path != "" {
		parts = append(parts, "manifest: "+code(s.finished.Path))
	}
	if len(parts) == 0 {
		return ""
	}
	return "<sub>" + strings.Join(parts, " · ") + "</sub>\n"
}

func signOf(good bool) string {
	if good {
		return "✅"
	}
	return "❌"
}
