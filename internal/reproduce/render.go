package reproduce

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// String returns a result as plain text: a line for each package, and the reason of a difference below it.
func (r *Result) String() string {
	var w strings.Builder
	verdict, system, name := 0, 0, 0
	for _, p := range r.Packages {
		verdict, system, name = max(verdict, len(p.Verdict)), max(system, len(p.System)), max(name, utf8.RuneCountInString(string(p.Package)))
	}
	for _, p := range r.Packages {
		line := fmt.Sprintf("%-*s  %-*s  %-*s", verdict, p.Verdict, system, p.System, name, p.Package)
		if p.Verdict == Pass && len(p.Outputs) > 0 {
			line += "  " + string(p.Outputs[0].PathB)
		}
		fmt.Fprintln(&w, strings.TrimRight(line, " "))
		p.writeDetails(&w)
	}
	r.writeChecks(&w)
	if len(r.Conditions) > 0 {
		fmt.Fprintln(&w, "conditions that differ (they should not matter):")
	}
	for _, f := range r.Conditions {
		fmt.Fprintf(&w, "  %-28s manifest: %s\n  %-28s here:     %s\n", f.Name, shown(f.A), "", shown(f.B))
	}
	return w.String()
}

func (p Package) writeDetails(w io.Writer) {
	if p.Reason != "" {
		fmt.Fprintf(w, "  %s\n", shown(p.Reason))
	}
	if p.Verdict == OtherDerivation {
		writeIndented(w, drvdiff.Report(p.Differences, "manifest", "here"))
		return
	}
	for _, o := range p.Outputs {
		if p.Verdict == OtherContents && o.NARHashA != o.NARHashB {
			fmt.Fprintf(w, "  %s of %s\n    manifest: %s\n    here:     %s\n", o.PathB, p.DerivationB, o.NARHashA, o.NARHashB)
		}
	}
	for _, c := range p.Contents {
		writeIndented(w, c.String())
	}
}

func (r *Result) writeChecks(w io.Writer) {
	if r.Compared == 0 {
		return
	}
	fmt.Fprintf(w, "contract: %d of %s have the same result\n", r.Compared-len(r.Checks), run.Count(r.Compared, "check"))
	for _, c := range r.Checks {
		fmt.Fprintf(w, "  %s%s: %s in the manifest, %s here", shown(c.Check), onSystem(string(c.System)), orNone(string(c.A)), orNone(string(c.B)))
		if c.Reason != "" {
			fmt.Fprintf(w, ": %s", shown(c.Reason))
		}
		fmt.Fprintln(w)
	}
}

func onSystem(system string) string {
	if system == "" {
		return ""
	}
	return " on " + system
}

func orNone(s string) string { return cmp.Or(s, "none") }

// shown returns the first line of a text from a manifest, without control characters.
func shown(s string) string { return cmp.Or(nix.FirstLine(nix.PlainText(s)), "-") }

func writeIndented(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		if line != "\n" {
			fmt.Fprint(w, "  ", line)
		}
	}
}
