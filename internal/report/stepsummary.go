package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// stepSummary is the page that GitHub shows of a step: verdicts first, then tables, failures and costs.
type stepSummary struct {
	*view
	run string // the web page of the whole run; empty if there is none
}

// part is a part of the page. Short replaces text if there is not enough room. A part of lines, such as a table, can be
// cut after any line but the first two; any other part is whole or missing, because half of it would enclose the next part.
type part struct {
	text, short string
	lines       bool
}

func (s *stepSummary) parts() []part {
	parts := []part{{text: s.head(), lines: true}, {text: s.systemTable(), lines: true}, {text: s.packageTable(), lines: true}}
	parts = append(parts, s.failures()...)
	parts = append(parts, s.contract(), part{text: s.cost()}, part{text: s.foot()})
	return slices.DeleteFunc(parts, func(p part) bool { return p.text == "" })
}

// fit returns the page in at most room bytes. The list of checks is shortened first, then the tails of logs, beginning
// with the last one. A page that is still too long is cut, with a note.
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
		return cut(parts, room)
	}
	const end = "\n**The rest is left out**: GitHub takes no more. It is in the manifest and in the log.\n"
	if text := cut(parts, room-len(end)); text != "" {
		return text + end
	}
	return ""
}

// cut returns the parts that fit into room bytes, and the first lines of the next part if it can be cut.
func cut(parts []part, room int) string {
	var b strings.Builder
	for _, p := range parts {
		left := room - b.Len()
		if len(p.text)+len("\n") <= left {
			b.WriteString(p.text + "\n")
			continue
		}
		text := p.text[:strings.LastIndexByte(p.text[:max(min(left, len(p.text)), 0)], '\n')+1]
		if p.lines && strings.Count(text, "\n") > 2 { // more than the head of a table
			b.WriteString(text)
		}
		break
	}
	return b.String()
}

// head has the title and the verdicts of building, publishing and pinning.
func (s *stepSummary) head() string {
	m := s.finished.Manifest
	title := s.title()
	lines := []string{"## " + title.markdown(), ""}
	if m != nil {
		about := words(m.Command) + " of " + code(m.Source.URL)
		if m.Source.Dirty {
			about += ", with uncommitted changes"
		}
		lines = append(lines, about+" · "+duration(s.duration()), "")
	}
	if m != nil || s.packages.all > 0 { // else the title says it
		build := result{s.buildMark(), fmt.Sprintf("%d of %s good", s.packages.good, run.Count(s.packages.all, "package"))}
		if s.packages.all == 0 {
			build.text = "nothing was built"
		}
		lines = append(lines, "- **Build** "+build.markdown())
	}
	lines = append(lines, s.publishing()...)
	for _, f := range s.failedSteps {
		if f.System == "" && f.Step != run.StepPin && f.Step != run.StepContract { // those have another place
			lines = append(lines, "- **"+words(string(f.Step))+"** ❌ "+code(f.Error))
		}
	}
	for _, text := range s.warningsOf("") {
		lines = append(lines, "- ⚠️ "+words(text))
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *stepSummary) title() result {
	m := s.finished.Manifest
	switch {
	case m == nil && len(s.failedSteps) > 0:
		return result{failed, "Nothing was built"}
	case m == nil:
		return result{failed, "No system has a result"}
	}
	switch m.Outcome {
	case run.OutcomeGood:
		switch {
		case s.anyPublish(func(p run.PublishResult) bool { return len(p.Pins) > 0 }):
			return result{passed, "Released"}
		case s.anyPublish(func(p run.PublishResult) bool { return p.Verdict == run.Published }):
			return result{passed, "Built and published"}
		}
		return result{passed, "Built"}
	case run.OutcomeUnpublished:
		return result{warning, "Built, and not published"}
	case run.OutcomeDifferent:
		return result{failed, "Built, and not reproducible"}
	case run.OutcomeContract:
		return result{failed, "The contract is broken"}
	case run.OutcomeInterrupted:
		return result{cancelled, "Cancelled; these are the results so far"}
	}
	if len(s.missing) > 0 {
		return result{failed, "No result of " + strings.Join(s.missing, ", ")}
	}
	if bad := s.packages.all - s.packages.good; bad > 0 {
		return result{failed, fmt.Sprintf("%d of %s failed", bad, run.Count(s.packages.all, "package"))}
	}
	return result{failed, "Failed"}
}

// publishing has the publish state of each system. Systems with the same state share a line.
func (s *stepSummary) publishing() (lines []string) {
	var texts []string
	systems := map[string][]string{}
	total := 0
	for _, c := range s.systems {
		if c.publish == nil {
			continue
		}
		total++
		text := c.publish.markdown()
		if systems[text] == nil {
			texts = append(texts, text)
		}
		systems[text] = append(systems[text], string(c.System))
	}
	for _, text := range texts {
		line := "- **Publish** " + text
		if len(systems[text]) < total {
			line += " (" + words(strings.Join(systems[text], ", ")) + ")"
		}
		lines = append(lines, line)
	}
	switch pin := s.pin; {
	case pin == nil:
	case pin.Error != "":
		lines = append(lines, "- **Pin** ⚠️ "+code(pin.Error))
	case pin.Skipped != "":
		lines = append(lines, "- **Pin** "+"➖ none: "+words(pin.Skipped))
	default:
		lines = append(lines, "- **Pin** "+result{passed, pin.Summary}.markdown())
	}
	return lines
}

func (p *publishView) markdown() string {
	sign, text := p.mark.emoji(), words(p.verb)
	if p.cache != "" {
		text += " " + code(p.cache)
	}
	text += words(p.rest)
	switch p.mark {
	case passed:
	case failed: // of publishing, not of the build
		sign, text = warning.emoji(), text+": "+code(p.reason)
	default:
		text += ": " + words(p.reason)
	}
	return sign + " " + text
}

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

func (r result) markdown() string { return r.mark.emoji() + " " + words(r.text) }
