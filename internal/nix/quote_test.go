package nix

import "testing"

// An attribute has no quotes if Nix needs none.
func TestAttribute(t *testing.T) {
	for name, want := range map[string]string{
		"open-sesame": "open-sesame", "a'b": "a'b", "python3.11": `"python3.11"`, "1password": `"1password"`, "ü": `"ü"`, "-x": `"-x"`,
		"if": `"if"`, "inherit": `"inherit"`, "or": `"or"`, `q"\`: `"q\"\\"`, "dollar${x}": `"dollar\${x}"`,
	} {
		if got := Attribute(name); got != want {
			t.Errorf("%s is the attribute %s, want %s", name, got, want)
		}
	}
}
