package compare

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

const (
	hexRow        = 16
	maxHexRows    = 4
	maxTextLines  = 40 // of a diff
	maxTextProofs = 3  // pieces of evidence
)

// WriteText writes a report for a person. Where nothing differs, it is one line.
func (r *Report) WriteText(out io.Writer) error {
	w := bufio.NewWriter(out)
	fmt.Fprintln(w, r.Headline())
	for _, f := range r.Source {
		fmt.Fprintf(w, "  %-22s A: %s\n  %-22s B: %s\n", f.Name, shown(orNone(f.A)), "", shown(orNone(f.B)))
	}
	for i := range r.Outputs {
		if o := &r.Outputs[i]; o.Verdict != Same {
			o.writeText(w)
		}
	}
	return w.Flush()
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Headline says in one line what has come of the comparison.
func (r *Report) Headline() string {
	files, same, differing := 0, 0, 0
	for _, o := range r.Outputs {
		files += o.Files
		differing += o.Differing()
		if o.Verdict == Same {
			same++
		}
	}
	outputs := count(len(r.Outputs), "output")
	switch {
	case r.Same && files > 0:
		return fmt.Sprintf("same: %s, %s", outputs, count(files, "file"))
	case r.Same:
		return fmt.Sprintf("same: %s, by hash", outputs)
	case files > 0:
		return fmt.Sprintf("different: %d of %s, %d of %s", len(r.Outputs)-same, outputs, differing, count(files, "file"))
	}
	return fmt.Sprintf("different: %d of %s", len(r.Outputs)-same, outputs)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (o *Output) writeText(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s\n", o.Title(), o.Verdict)
	for _, side := range [][3]string{{"A", string(o.PathA), o.NARHashA}, {"B", string(o.PathB), o.NARHashB}} {
		if side[1] != "" {
			fmt.Fprintf(w, "  %s %s  %s\n", side[0], side[1], side[2])
		}
	}
	if o.Note != "" {
		fmt.Fprintf(w, "  %s\n", o.Note)
	}
	for i := range o.Differences {
		o.Differences[i].writeText(w)
	}
	if o.Unlisted > 0 {
		fmt.Fprintf(w, "  and %s more\n", count(o.Unlisted, "difference"))
	}
	o.writeAdvice(w)
}

// Differing is how many paths differ.
func (o *Output) Differing() int { return len(o.Differences) + o.Unlisted }

// Title is an output's name, with its system where it has one.
func (o *Output) Title() string {
	if o.System == "" {
		return shown(o.Name)
	}
	return shown(o.Name) + " on " + shown(o.System)
}

// writeAdvice explains each cause once.
func (o *Output) writeAdvice(w io.Writer) {
	advice := o.Advice()
	if len(advice) == 0 {
		return
	}
	fmt.Fprintln(w, "  likely causes")
	for _, a := range advice {
		fmt.Fprintf(w, "    %s, %s: %s\n", a.Cause, count(a.Files, "file"), a.Cause.Explain())
		fmt.Fprintf(w, "      to mend it: %s\n", a.Cause.Mend())
	}
}

// Advice is a cause, with the number of files that it is likely of.
type Advice struct {
	Cause Cause
	Files int
}

// Advice returns all causes of an output, the more telling first.
func (o *Output) Advice() []Advice {
	files := map[Cause]int{}
	for _, d := range o.Differences {
		for _, c := range d.Causes {
			files[c]++
		}
	}
	var all []Advice
	for _, c := range Causes() {
		if files[c] > 0 {
			all = append(all, Advice{c, files[c]})
		}
	}
	return all
}

// Title is a difference's path as a person reads it.
func (d *Difference) Title() string {
	if d.Path == "" {
		return "(the output itself)"
	}
	return shown(d.Path)
}

// Summary says in a few words what differs, but for the path.
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
			parts = append(parts, "to "+shown(d.A.Target)+" in A, to "+shown(d.B.Target)+" in B")
		case Mode:
			parts = append(parts, "executable in "+executableSide(d))
		case Contents:
			parts = append(parts, d.Change.summary(d.A.Size, d.B.Size))
		}
	}
	return strings.Join(parts, "; ")
}

func executableSide(d *Difference) string {
	if d.A.Executable {
		return "A alone"
	}
	return "B alone"
}

func (e *Entry) describe() string {
	switch {
	case e.Type == Symlink:
		return "link to " + shown(e.Target)
	case e.Type == Directory && e.Below > 0:
		return fmt.Sprintf("directory with %s, %s", count(e.Below, "name"), size(e.Size))
	case e.Type == Directory:
		return "directory"
	case e.Executable:
		return "executable, " + size(e.Size)
	}
	return "file, " + size(e.Size)
}

func (c *Change) summary(a, b int64) string {
	s := size(a)
	if a != b {
		s += " in A, " + size(b) + " in B"
	}
	s += fmt.Sprintf("; first at %#x", c.Offset)
	if c.Place != "" {
		s += ", " + c.Place
	}
	if c.PlaceB != "" {
		s += " (B: " + c.PlaceB + ")"
	}
	if c.Differing > 0 {
		s += fmt.Sprintf("; %s", count(int(c.Differing), "byte")) + differs(c.Differing)
	}
	return s
}

func differs(n int64) string {
	if n == 1 {
		return " differs"
	}
	return " differ"
}

// size writes a number of bytes exactly where that is short, and else in three digits.
func size(n int64) string {
	switch {
	case n < 10_000:
		return count(int(n), "byte")
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}

func (d *Difference) writeText(w io.Writer) {
	fmt.Fprintf(w, "  %-8s %s  %s\n", d.kinds(), d.Title(), d.Summary())
	if d.Change == nil {
		return
	}
	for _, e := range d.Change.shownEvidence() {
		fmt.Fprintf(w, "           %s\n", e)
	}
	if d.Change.Diff != "" {
		d.Change.writeDiff(w)
	} else if r := d.Change.tellingRegion(); r != nil {
		for _, row := range r.Rows() {
			row.writeText(w)
		}
	}
}

// tellingRegion returns the first region that is not computed from others, or the first where all are.
func (c *Change) tellingRegion() *Region {
	for i := range c.Regions {
		if !isDerived(c.Regions[i].Place) {
			return &c.Regions[i]
		}
	}
	if len(c.Regions) > 0 {
		return &c.Regions[0]
	}
	return nil
}

func (d *Difference) kinds() string {
	names := make([]string, len(d.Kinds))
	for i, k := range d.Kinds {
		names[i] = string(k)
	}
	return strings.Join(names, "+")
}

// shownEvidence returns the first pieces of evidence, a line each.
func (c *Change) shownEvidence() []string {
	var lines []string
	for _, e := range c.Evidence {
		if len(lines) < maxTextProofs || e.Cause != c.Evidence[0].Cause && len(lines) < 2*maxTextProofs {
			lines = append(lines, e.String())
		}
	}
	return lines
}

// String returns the evidence as a line of text.
func (e Evidence) String() string {
	s := string(e.Cause)
	if e.A != "" || e.B != "" {
		s += ": " + shown(cut(e.A, 120)) + " | " + shown(cut(e.B, 120))
	}
	if e.Place != "" {
		s += "  in " + e.Place
	}
	return s
}

func (c *Change) writeDiff(w io.Writer) {
	if c.Unpacked {
		fmt.Fprintln(w, "           unpacked:")
	}
	n := 0
	for line := range strings.Lines(c.Diff) {
		if n++; n > maxTextLines {
			fmt.Fprintf(w, "           … the page of --html has more\n")
			return
		}
		fmt.Fprintf(w, "           %s\n", shownLine(strings.TrimSuffix(line, "\n")))
	}
	if c.DiffCut {
		fmt.Fprintln(w, "           …")
	}
}

// Row is up to 16 bytes of both sides at an offset that is a multiple of 16, but for the first row of a file's part.
type Row struct {
	Offset int64
	A, B   []byte
	// Same says that both sides are the same here, where B need not be shown.
	Same bool
}

// Rows returns the rows around the first difference of a region.
func (r *Region) Rows() []Row {
	from := max((r.Offset-hexRow)&^(hexRow-1), r.Start)
	var rows []Row
	for at := from; len(rows) < maxHexRows; {
		end := (at + hexRow) &^ (hexRow - 1)
		a, b := slice(r.A, at-r.Start, end-r.Start), slice(r.B, at-r.Start, end-r.Start)
		if len(a) == 0 && len(b) == 0 {
			break
		}
		rows = append(rows, Row{at, a, b, string(a) == string(b)})
		at = end
	}
	return rows
}

func slice(p []byte, from, to int64) []byte {
	n := int64(len(p))
	return p[min(from, n):min(to, n)]
}

func (r Row) writeText(w io.Writer) {
	if r.Same {
		fmt.Fprintf(w, "             %s\n", hexLine(r.Offset, r.A))
		return
	}
	fmt.Fprintf(w, "           A %s\n           B %s\n", hexLine(r.Offset, r.A), hexLine(r.Offset, r.B))
}

// hexLine is as hexdump -C writes it.
func hexLine(offset int64, p []byte) string {
	var hex, text strings.Builder
	for i := range hexRow {
		if i == hexRow/2 {
			hex.WriteByte(' ')
		}
		if i >= len(p) {
			hex.WriteString("   ")
			continue
		}
		fmt.Fprintf(&hex, " %02x", p[i])
		if isPrintable(p[i]) && p[i] != '\t' {
			text.WriteByte(p[i])
		} else {
			text.WriteByte('.')
		}
	}
	return fmt.Sprintf("%08x %s  |%s|", offset, hex.String(), text.String())
}
