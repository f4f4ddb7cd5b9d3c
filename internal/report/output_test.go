package report_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

// Escape sequences and commands are removed also if they come in several writes.
func TestOutputCleansSplitWrites(t *testing.T) {
	const text = "one\r\n::stop-commands::x\n\x1b]52;c;ZXZpbA==\x07two \x1b[31mred\x1b[0m \u202eevil\u2066\n  ##[error]größer\nlast"
	const want = "one\n> ::stop-commands::x\ntwo red evil\n  ## [error]größer\nlast"
	for size := 1; size <= len(text); size++ {
		var screen bytes.Buffer
		out := report.NewOutput(&screen)
		for rest := text; rest != ""; {
			n, err := out.Write([]byte(rest[:min(size, len(rest))]))
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
		if screen.String() != want {
			t.Fatalf("in parts of %d bytes: %q, want %q", size, &screen, want)
		}
	}
}

// A line is written as soon as it is complete. A line without an end needs bounded memory.
func TestOutputBuffersOneLine(t *testing.T) {
	var screen bytes.Buffer
	out := report.NewOutput(&screen)
	fmt.Fprint(out, "a line\na part")
	if screen.String() != "a line\n" {
		t.Errorf("written are %q", &screen)
	}
	screen.Reset()
	part := strings.Repeat("x", 64<<10)
	for range 64 {
		fmt.Fprint(out, part)
	}
	if n := screen.Len(); n < 2<<20 || strings.Contains(screen.String(), "\n:") {
		t.Errorf("%d bytes are written of a line of 4 MiB", n)
	}
	for line := range strings.Lines(screen.String()) {
		if len(line) > 1<<20+1 {
			t.Errorf("a line of %d bytes is written", len(line))
		}
	}
}

// A reporter begins a new line: its text does not continue an incomplete line of another writer.
func TestOutputKeepsReportersApart(t *testing.T) {
	var screen bytes.Buffer
	out := report.NewOutput(&screen)
	fmt.Fprint(out, "begun \x1b[3")
	if err := report.Mask(out, []string{"secret-of-someone"}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(out, "1m::set-output name=x::y\n")
	if want := "begun [3\n::add-mask::secret-of-someone\n1m::set-output name=x::y\n"; screen.String() != want {
		t.Errorf("written are %q, want %q", &screen, want)
	}
}

// An output that writes to another output loses its colours: only the last output can write escape sequences.
func TestOutputBehindAnother(t *testing.T) {
	var screen bytes.Buffer
	l := report.NewLines(report.NewOutput(report.NewOutput(&screen)), report.Options{Color: true})
	for _, m := range recorded() {
		l.Report(time.Now(), m.event)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(screen.String(), "\x1b") || screen.Len() == 0 {
		t.Errorf("written is %.200q", &screen)
	}
}

func TestOutputThatCannotWrite(t *testing.T) {
	for name, use := range map[string]func(out *report.Output) error{
		"a line":     func(out *report.Output) error { _, err := out.Write([]byte("a\n")); return err },
		"a part":     func(out *report.Output) error { fmt.Fprint(out, "a"); return out.Flush() },
		"a document": func(out *report.Output) error { return report.WriteJSON(out, "a") },
	} {
		if use(report.NewOutput(&broken{})) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
