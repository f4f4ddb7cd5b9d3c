package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Each command that help lists has a man page, under the name by which the program is called, with all of its flags.
func TestManPages(t *testing.T) {
	dir := t.TempDir()
	sys := process{name: toolName, stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)}
	if code := execute(t.Context(), []string{"man", dir}, sys); code != exitOK {
		t.Fatalf("exit code %d: %s", code, sys.stderr)
	}
	root := newRoot(sys)
	want := map[string]bool{toolName + ".1": true}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			want[toolName+"-"+c.Name()+".1"] = true
		}
	}
	pages, err := os.ReadDir(dir)
	if err != nil || len(pages) != len(want) {
		t.Errorf("%d pages, want %d (%v)", len(pages), len(want), err)
	}
	for _, p := range pages {
		if !want[p.Name()] {
			t.Errorf("page %s of no command", p.Name())
		}
		text := readTest(t, filepath.Join(dir, p.Name()))
		if strings.Contains(text, "```") || !strings.Contains(text, ".SH EXIT STATUS\n") {
			t.Errorf("%s is not rendered:\n%s", p.Name(), text)
		}
		c, _, err := root.Find(strings.FieldsFunc(strings.TrimPrefix(p.Name(), toolName), func(r rune) bool { return r == '-' || r == '.' })[:1])
		if err != nil {
			continue // the page of the program has no command in its name
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(strings.ReplaceAll(text, `\`, ""), "--"+f.Name+`fP`) {
				t.Errorf("%s does not have the flag --%s", p.Name(), f.Name)
			}
		})
	}
}

func TestMarkdownOfHelp(t *testing.T) {
	const want = "Uses *x\\* and OUT\\_DIR:\n\n```\n  a  *b*\n     c_d\n\n```\n\nThen \\<more>.\n"
	got := markdown("Uses *x* and OUT_DIR:\n  a  *b*\n     c_d\n\nThen <more>.")
	if strings.ReplaceAll(got, `\*x`, "*x") != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}
