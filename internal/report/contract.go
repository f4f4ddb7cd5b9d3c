package report

import (
	"fmt"
	"strconv"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// checkBlocks are the failed checks and the warnings, with all details.
func checkBlocks(e run.Checked) []block {
	var blocks []block
	for _, r := range e.Results {
		b := block{mark: checkMark(r.Status), system: e.System, step: run.StepContract}
		if b.mark != failed && b.mark != warning {
			continue
		}
		if e.WarnOnly {
			b.mark = warning
		}
		if r.File != "" {
			b.at = &run.Line{File: r.File, Line: r.Line}
		}
		b.head = r.Check + ": " + r.Reason
		if e.System != "" {
			b.head = string(e.System) + ": " + b.head
		}
		for _, detail := range []struct{ name, text string }{
			{"at", contract.Where(r)}, {"wanted", r.Wanted}, {"found", r.Found}, {"fix", r.Fix},
		} {
			if detail.text != "" {
				b.why = append(b.why, detail.name+": "+detail.text)
			}
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// contractView has the checks of the flake's files, or of a system.
type contractView struct {
	system  matrix.System // empty for the flake's files
	results []contract.Result
	open    []contract.Result // those that have not passed
}

// contracts returns those that have results: of the flake's files, then of the systems.
func (v *view) contracts() (all []contractView) {
	add := func(c contractView) {
		for _, r := range c.results {
			if r.Status != contract.Pass {
				c.open = append(c.open, r)
			}
		}
		if len(c.results) > 0 {
			all = append(all, c)
		}
	}
	if m := v.finished.Manifest; m != nil {
		add(contractView{results: m.Contract})
		for _, c := range m.Cells {
			add(contractView{system: c.System, results: c.Contract})
		}
	}
	return all
}

// contract is the table of the checks that have not passed, below the counts of all.
func (s style) contract(c contractView) []shown {
	what := "contract of the flake's files"
	if c.system != "" {
		what = "contract on " + string(c.system)
	}
	counts, _ := contract.Counts(c.results)
	lines := []shown{s.paint(bold, s.clean(what+": "+counts))}
	width := 0
	for _, r := range c.open {
		width = max(width, len(r.Check))
	}
	for _, r := range c.open {
		row := fmt.Sprintf("%-4s  %-*s  %s", r.Status, width, r.Check, r.Reason)
		if where := contract.Where(r); where != "" && r.Status != contract.Skip {
			row += " (" + where + ")"
		}
		lines = append(lines, "  "+s.rowSign(checkMark(r.Status))+s.clean(row))
	}
	return append(lines, "")
}

func checkMark(status contract.Status) mark {
	switch status {
	case contract.Pass:
		return passed
	case contract.Skip:
		return skipped
	case contract.Warn:
		return warning
	}
	return failed
}

// fields are the properties of a block's annotation. GitHub shows the annotation beside that line.
func (s style) fields(b block) map[string]string {
	if b.at == nil || b.at.File == "" {
		return nil
	}
	fields := map[string]string{"file": string(s.clean(b.at.File))}
	if b.at.Line > 0 {
		fields["line"] = strconv.Itoa(b.at.Line)
	}
	return fields
}
