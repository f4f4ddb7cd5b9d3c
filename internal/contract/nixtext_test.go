package contract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokensPassOverStringsAndComments(t *testing.T) {
	text := `# outputHashes = { }
/* outputHashes
   = { } */ { a = "x ${b { c = "}"; }} y"; d = ''
  outputHashes = ''${ '''x''' "
''; e-f' = "\"q\""; }`
	var got []string
	for _, tok := range tokens(text) {
		if tok.kind == 'w' || tok.kind == 's' && !strings.Contains(tok.text, "\n") {
			got = append(got, tok.text)
		}
	}
	if want := `a x  y d e-f' "q"`; strings.Join(got, " ") != want {
		t.Errorf("words and strings %q, want %q", strings.Join(got, " "), want)
	}
}

// Whatever a flake's files hold, reading them ends, and neither panics nor leaves the file.
func FuzzReadNix(f *testing.F) {
	tree := writeExample(f)
	for _, file := range []string{headlessFile, desktopFile, "flake.nix"} {
		data, err := os.ReadFile(filepath.Join(tree, file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(`outputHashes = { "a`)
	f.Add(`a = let x = { in } // rec { cargoLock.outputHashes."b" = (with y; x); inherit (z`)
	f.Add(`nixConfig = { a = ''${"`)
	f.Add("{\n  inputs.a.url = \"x\";\n  outputs = _: { }; # }\n}")
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range tokens(text) {
			if tok.start >= tok.end || tok.end > len(text) || tok.line > strings.Count(text, "\n")+1 {
				t.Fatalf("token %+v of %d bytes", tok, len(text))
			}
		}
		lines := strings.Count(text, "\n") + 1
		readNixConfig(text)
		if line := inputsLine(text); line < 0 || line > lines {
			t.Fatalf("inputs at line %d of %d", line, lines)
		}
		for _, table := range parseHashes("a.nix", text, "Cargo.lock") {
			if table.last > lines {
				t.Fatalf("a table that ends at line %d of %d", table.last, lines)
			}
		}
	})
}
