package reproduce

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// WriteText writes a result as plain text: a line for each package, and the reason of a difference below it.
func (r *Result) WriteText(out io.Writer) error {
	w := bufio.NewWriter(out)
	verdict, system, name := 0, 0, 0
	for _, p := range r.Packages {
		verdict, system, name = max(verdict, len(p.Verdict)), max(system, len(p.System)), max(name, utf8.RuneCountInString(string(p.Package)))
	}
	for _, p := range r.Packages {
		line := fmt.Sprintf("%-*s  %-*s  %-*s", verdict, p.Verdict, system, p.System, name, p.Package)
		if p.Verdict == Pass && len(p.Outputs) > 0 {
			line += "  " + string(p.Outputs[0].PathB)
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
		if err := p.writeDetails(w); err != nil {
			return err
		}
	}
	r.writeChecks(w)
	if len(r.Conditions) > 0 {
		fmt.Fprintln(w, "conditions that differ (they should not matter):")
	}
	for _, f := range r.Conditions {
		fmt.Fprintf(w, "  %-28s manifest: %s\n  %-28s here:     %s\n", f.Name, shown(f.A), "", shown(f.B))
	}
	return w.Flush()
}

func (p Package) writeDetails(w io.Writer) error {
	if p.Reason != "" {
		fmt.Fprintf(w, "  %s\n", shown(p.Reason))
	}
	switch p.Verdict {
	case OtherDerivation:
		return indent(w, func(w io.Writer) error {
			_, err := io.WriteString(w, drvdiff.Report(p.Differences, "manifest", "here"))
			return err
		})
	case OtherContents:
		for _, o := range p.Outputs {
			if o.NARHashA != o.NARHashB {
				fmt.Fprintf(w, "  %s of %s\n    manifest: %s\n    here:     %s\n", o.PathB, p.DerivationB, o.NARHashA, o.NARHashB)
			}
		}
	}
	for _, c := range p.Contents {
		if err := indent(w, c.WriteText); err != nil {
			return err
		}
	}
	return nil
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

func indent(w io.Writer, write func(io.Writer) error) error {
	var b strings.Builder
	if err := write(&b); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if line == "\n" {
			continue
		}
		if _, err := io.WriteString(w, "  "+line); err != nil {
			return err
		}
	}
	return nil
}
