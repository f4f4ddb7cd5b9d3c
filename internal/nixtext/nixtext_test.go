package nixtext

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestScanPassesOverStringsAndComments(t *testing.T) {
	text := `# outputHashes = { }
/* outputHashes
   = { } */ { a = "x ${b { c = "}"; }} y"; d = ''
  outputHashes = ''${ '''x''' "
''; e-f' = "\"q\""; g = "$${"; }`
	var got []string
	for _, tok := range Scan(text) {
		if tok.Kind == Word || tok.Kind == String && !strings.Contains(tok.Text, "\n") {
			got = append(got, tok.Text)
		}
	}
	if want := `a x  y d e-f' "q" g $${`; strings.Join(got, " ") != want {
		t.Errorf("words and strings %q, want %q", strings.Join(got, " "), want)
	}
}

func TestWalk(t *testing.T) {
	for text, want := range map[string]string{
		`{ a.b = { c = 1; "d e".f = 2; }; }`:                "a.b a.b.c a.b.d e.f",
		`rec { a = (rec { b = 1; }); }`:                     "a a.b",
		`{ f = { x }: { y = 1; }; g = x: { y = 1; }; }`:     "f g",
		`{ inherit (x) a; ${b} = { c = 1; }; d = 1; }`:      "d",
		`{ a = with x; assert y; z; b = let c = 1; in c; }`: "a b",
		`{ a = { b = { c = { d = { e = { f = 1; }; }; }; }`: "",
		`{ a = 1 == 2; b == c; d = [ { e = 1; } ]; }`:       "a d",
		`{ a = { b = { c = { d = { e = { f = 1;};};};};};}`: "a a.b a.b.c a.b.c.d a.b.c.d.e",
		`x: { a = 1; }`: "", ``: "", `{`: "", `}`: "", `{ a`: "", `{ a = ); b`: "", `{ . = 1; }`: "",
	} {
		var got []string
		Walk(Scan(text), func(b Binding) { got = append(got, b.Name()) })
		if strings.Join(got, " ") != want {
			t.Errorf("%s\nhas %q, want %q", text, got, want)
		}
	}
}

// Whatever a file holds, reading it ends, and no token and no binding is outside of it.
func FuzzScan(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("..", "..", "example", "flake", "flake.nix"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add(`a = let x = { in } // rec { cargoLock.outputHashes."b" = (with y; x); inherit (z`)
	f.Add(`{ inputs.self.submodules = true; x = "${''${"}"}''}"; }`)
	f.Add(`{ nixConfig = { a = ''${"`)
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		tokens := Scan(text)
		for i, tok := range tokens {
			if tok.Start >= tok.End || tok.End > len(text) || tok.Line > lines || i > 0 && tok.Start < tokens[i-1].End {
				t.Fatalf("token %+v of %d bytes", tok, len(text))
			}
		}
		Walk(tokens, func(b Binding) {
			if len(b.Path) == 0 || b.Line < 1 || b.Line > lines {
				t.Fatalf("binding %+v in %d lines", b, lines)
			}
		})
		if n := len(slices.Concat(Operands(tokens)...)); n > len(tokens) {
			t.Fatalf("%d tokens in the operands of %d", n, len(tokens))
		}
	})
}
