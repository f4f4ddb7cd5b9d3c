package nixtext

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSkipsStringsAndComments(t *testing.T) {
	text := `# outputHashes = { }
/* outputHashes
   = { } */ { a = "x ${b { c = "}"; }} y"; d = ''
  outputHashes = ''${ '''x''' "
''; e-f' = "\"q\""; g = "$${"; }`
	var got []string
	Parse(text).Walk(func(b Binding) {
		got = append(got, fmt.Sprintf("%s:%d %d %q", b.Name(), b.Line, b.Value.Kind, b.Value.Text))
	})
	want := []string{
		fmt.Sprintf(`a:3 %d "x  y"`, Other), fmt.Sprintf(`d:3 %d "\n  outputHashes = ${ ''x'' \"\n"`, Text),
		fmt.Sprintf(`e-f':5 %d "\"q\""`, Text), fmt.Sprintf(`g:5 %d "$${"`, Text),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
}

func TestWalk(t *testing.T) {
	for text, want := range map[string]string{
		`{ a.b = { c = 1; "d e".f = 2; }; }`:                  "a.b a.b.c a.b.d e.f",
		`rec { a = (rec { b = 1; }); }`:                       "a a.b",
		`{ f = { x }: { y = 1; }; g = x: { y = 1; }; }`:       "f g",
		`{ inherit (x) a; ${b} = { c = 1; }; d = 1; }`:        "d",
		`{ a = with x; assert y; z; b = let c = 1; in c; }`:   "a b",
		`{ a = { b = { c = { d = { e = { f = 1; }; }; }; }`:   "",
		`{ a = 1 == 2; b == c; d = [ { e = 1; } ]; }`:         "a d",
		`{ a = { b = { c = { d = { e = { f = 1;};};};};};}`:   "a a.b a.b.c a.b.c.d a.b.c.d.e a.b.c.d.e.f",
		`{ a = ({ b = 1; }) // { c = 1; }; d = [ 1 ] // x; }`: "a d",
		`{ a = "x${y}"; inherit b; c = { }: { d = 1; }; }`:    "a c",
		`x: { a = 1; }`: "", ``: "", `{`: "", `}`: "", `{ a`: "", `{ a = ); b`: "", `{ . = 1; }`: "",
	} {
		var got []string
		Parse(text).Walk(func(b Binding) { got = append(got, b.Name()) })
		if strings.Join(got, " ") != want {
			t.Errorf("%s\nhas %q, want %q", text, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	v := Parse("{ x, y ? 1, ... }@args: z: let\n  a = rec { b = 1; };\nin f { inherit (g {}) c d; inherit e;\n } // a")
	var arguments, bindings []string
	var collect func(v Value)
	collect = func(v Value) {
		arguments = append(arguments, v.Arguments...)
		for _, b := range v.Bindings {
			bindings = append(bindings, fmt.Sprintf("%s:%d:%d", b.Name(), b.Line, b.Value.Kind))
			collect(b.Value)
		}
		for _, part := range v.Parts {
			collect(part)
		}
	}
	collect(v)
	if got, want := strings.Join(arguments, " "), "x y args z"; got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	want := fmt.Sprintf("a:2:%d b:2:%d c:3:%d d:3:%[3]d e:3:%[4]d", Set, Name, InheritedFrom, Inherited)
	if got := strings.Join(bindings, " "); got != want {
		t.Errorf("bindings %q, want %q", got, want)
	}
	if v.Kind != Merge || v.Line != 1 || v.Last != 4 {
		t.Errorf("kind %d, lines %d to %d, want %d, 1 to 4", v.Kind, v.Line, v.Last, Merge)
	}
}

func TestParseOfDeepValuesEnds(t *testing.T) {
	for _, part := range []string{"{ a = ", "(", "[", "with ", "let a = ", "inherit (", "a // ("} {
		Parse(strings.Repeat(part, 1<<16))
	}
}

// Reading any file ends, and each value is in the file.
func FuzzParse(f *testing.F) {
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
		var check func(Value)
		check = func(v Value) {
			if v.Source != "" && (v.Line < 1 || v.Last < v.Line || v.Last > lines || !strings.Contains(text, v.Source)) {
				t.Fatalf("value %+v in %d lines", v, lines)
			}
			for _, b := range v.Bindings {
				if len(b.Path) == 0 || b.Line < 1 || b.Line > lines {
					t.Fatalf("binding %+v in %d lines", b, lines)
				}
				if !b.IsInherited() {
					check(b.Value)
				}
			}
			for _, part := range v.Parts {
				check(part)
			}
		}
		check(Parse(text))
	})
}
