package compare

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

const (
	hexRow = 16
	indent = "           " // of a line below a difference
	// How many lines of a diff, a dump or a list of members are shown.
	textLines = 40
	pageLines = 400
)

// String returns a report as plain text. It is one line if nothing differs.
func (r *Report) String() string { return r.text(textLines) }

func (r *Report) text(most int) string {
	var w strings.Builder
	fmt.Fprintln(&w, r.Headline())
	for _, f := range r.Source {
		fmt.Fprintf(&w, "  %-22s A: %s\n  %-22s B: %s\n", f.Name, orNone(f.A), "", orNone(f.B))
	}
	for i := range r.Outputs {
		if o := &r.Outputs[i]; o.Verdict != Same {
			o.write(&w, most)
		}
	}
	return w.String()
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return printable.Escaped(s)
}

func (r *Report) Headline() string {
	files, differing, paths := 0, 0, 0
	for _, o := range r.Outputs {
		files += o.Files
		paths += len(o.Differences) + o.Unlisted
		if o.Verdict != Same {
			differing++
		}
	}
	outputs := run.Count(len(r.Outputs), "output")
	switch {
	case r.Same && files > 0:
		return fmt.Sprintf("same: %s, %s", outputs, run.Count(files, "file"))
	case r.Same:
		return fmt.Sprintf("same: %s, by hash", outputs)
	case files > 0:
		return fmt.Sprintf("different: %d of %s, %d of %s", differing, outputs, paths, run.Count(files, "file"))
	}
	return fmt.Sprintf("different: %d of %s", differing, outputs)
}

func (o *Output) write(w io.Writer, most int) {
	name := printable.Escaped(o.Name)
	if o.System != "" {
		name += " on " + printable.Escaped(o.System)
	}
	fmt.Fprintf(w, "\n%s: %s\n", name, o.Verdict)
	if o.PathA != "" {
		fmt.Fprintf(w, "  A %s  %s\n", o.PathA, o.NARHashA)
	}
	if o.PathB != "" {
		fmt.Fprintf(w, "  B %s  %s\n", o.PathB, o.NARHashB)
	}
	if o.Note != "" {
		fmt.Fprintf(w, "  %s\n", o.Note)
	}
	for i := range o.Differences {
		d := &o.Differences[i]
		fmt.Fprintf(w, "  %-8s %s  %s\n", d.kinds(), d.Title(), d.Summary())
		if d.Change != nil {
			d.Change.write(w, most)
		}
	}
	if o.Unlisted > 0 {
		fmt.Fprintf(w, "  and %s more\n", run.Count(o.Unlisted, "difference"))
	}
	if o.Files > 0 {
		fmt.Fprintf(w, "  %d added, %d removed, %d changed; %s\n", o.Added, o.Removed, o.Changed, growth(o.SizeA, o.SizeB))
	}
	o.writeAdvice(w)
}

func (o *Output) writeAdvice(w io.Writer) {
	files := map[Cause]int{}
	for _, d := range o.Differences {
		for _, c := range d.Causes {
			files[c]++
		}
	}
	if len(files) > 0 {
		fmt.Fprintln(w, "  causes")
	}
	for _, c := range causes {
		if n := files[c.cause]; n > 0 {
			fmt.Fprintf(w, "    %s, %s: %s\n      to fix it: %s\n", c.cause, run.Count(n, "file"), c.explain, c.fix)
		}
	}
}

func (d *Difference) Title() string {
	if d.Path == "" {
		return "(the output itself)"
	}
	return printable.Escaped(d.Path)
}

func (d *Difference) kinds() string {
	names := make([]string, len(d.Kinds))
	for i, k := range d.Kinds {
		names[i] = string(k)
	}
	return strings.Join(names, "+")
}

func (d *Difference) Summary() string {
	var parts []string
	for _, k := range d.Kinds {
		switch k {
		case Added:
			parts = append(parts, d.B.describe())
		case Removed:
			parts = append(parts, d.A.describe())
		case Retyped:
			parts = append(parts, d.A.describe()+" in A, "+d.B.describe()+" in B")
		case Relinked:
			parts = append(parts, "to "+printable.Escaped(d.A.Target)+" in A, to "+printable.Escaped(d.B.Target)+" in B")
		case Mode:
			side := "B"
			if d.A.Executable {
				side = "A"
			}
			parts = append(parts, "executable in "+side+" only")
		case Contents:
			parts = append(parts, d.Change.summary(d.A.Size, d.B.Size))
		case Header:
			for _, f := range d.Fields {
				parts = append(parts, fmt.Sprintf("%s %s in A, %s in B", f.Name, orNone(f.A), orNone(f.B)))
			}
		}
	}
	return strings.Join(parts, "; ")
}

func (e *Entry) describe() string {
	switch {
	case e.Type == Symlink:
		return "link to " + printable.Escaped(e.Target)
	case e.Type == Directory && e.Below > 0:
		return fmt.Sprintf("directory with %s, %s", run.Count(e.Below, "name"), size(e.Size))
	case e.Type == Directory:
		return "directory"
	case e.Executable:
		return "executable, " + size(e.Size)
	}
	return "file, " + size(e.Size)
}

func (c *Change) summary(a, b int64) string {
	s := growth(a, b) + fmt.Sprintf("; first at %#x", c.Offset)
	if len(c.Members) > 0 {
		s += "; in " + printable.Escaped(c.Members[0].Path)
	}
	if c.Differing > 0 {
		s += fmt.Sprintf("; %s", run.Count(int(c.Differing), "byte")) + differs(c.Differing)
	}
	if c.Note != "" {
		s += " (" + c.Note + ")"
	}
	return s
}

// write writes the evidence, then the members that differ, the diff, or the first bytes that differ.
func (c *Change) write(w io.Writer, most int) {
	var lines []string
	for _, e := range c.Evidence[:min(len(c.Evidence), maxEvidence)] {
		lines = append(lines, e.String())
	}
	for i := range c.Members[:min(len(c.Members), most)] {
		m := &c.Members[i]
		lines = append(lines, fmt.Sprintf("%-8s %s  %s", m.kinds(), m.Title(), m.Summary()))
	}
	if n := len(c.Members) + c.UnlistedMembers; n > min(len(c.Members), most) {
		lines = append(lines, fmt.Sprintf("and %s more", run.Count(n-min(len(c.Members), most), "member")))
	}
	details := c
	if len(c.Members) == 1 && c.Members[0].Change != nil {
		details = c.Members[0].Change
	}
	n := len(lines)
	for line := range strings.Lines(details.Diff) {
		lines = append(lines, shownLine(strings.TrimSuffix(line, "\n")))
	}
	if details.Region != nil && details.Diff == "" {
		lines = append(lines, details.Region.lines()...)
	}
	if len(lines) > n+most {
		lines = append(lines[:n+most], "…")
	} else if details.DiffCut {
		lines = append(lines, "…")
	}
	for _, line := range lines {
		fmt.Fprintf(w, "%s%s\n", indent, line)
	}
}

func (e Evidence) String() string {
	s := string(e.Cause)
	if e.A != "" || e.B != "" {
		s += ": " + printable.Escaped(printable.Cut(e.A, 120)) + " | " + printable.Escaped(printable.Cut(e.B, 120))
	}
	if e.Place != "" {
		s += "  in " + printable.Escaped(e.Place)
	}
	return s
}

// lines returns up to 16 bytes a line, in the form of hexdump -C: both sides where they differ.
func (r *Region) lines() []string {
	var lines []string
	for at := 0; at < max(len(r.A), len(r.B)); at += hexRow {
		a, b := r.A[min(at, len(r.A)):min(at+hexRow, len(r.A))], r.B[min(at, len(r.B)):min(at+hexRow, len(r.B))]
		offset := r.Start + int64(at)
		if string(a) == string(b) {
			lines = append(lines, "  "+hexLine(offset, a))
			continue
		}
		lines = append(lines, "A "+hexLine(offset, a), "B "+hexLine(offset, b))
	}
	return lines
}

func hexLine(offset int64, p []byte) string {
	if len(p) == 0 {
		return fmt.Sprintf("%08x", offset)
	}
	return fmt.Sprintf("%08x%s", offset, strings.TrimSuffix(hex.Dump(p)[8:], "\n"))
}

// shownLine is [printable.Escaped] of a line, but keeps tabs.
func shownLine(line string) string {
	parts := strings.Split(line, "\t")
	for i, part := range parts {
		parts[i] = printable.Escaped(part)
	}
	return strings.Join(parts, "\t")
}

func differs(n int64) string {
	if n == 1 {
		return " differs"
	}
	return " differ"
}

func growth(a, b int64) string {
	switch {
	case a < b:
		return fmt.Sprintf("%s in A, %s in B: +%s", size(a), size(b), size(b-a))
	case a > b:
		return fmt.Sprintf("%s in A, %s in B: -%s", size(a), size(b), size(a-b))
	}
	return size(a)
}

// size is exact for small numbers of bytes, and rounded for large ones.
func size(n int64) string {
	if n < 10_000 {
		return run.Count(int(n), "byte")
	}
	return printable.Size(n)
}
