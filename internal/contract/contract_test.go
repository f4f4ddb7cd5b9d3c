package contract

import "testing"

func TestParseErrorsHaveAPosition(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"syntax", "[outputs\n", "parse contract c.toml:1:9: "},
		{"unknown section", "[outputs]\n[unitz]\n", "parse contract c.toml:2:2: unknown key unitz"},
		{"unknown key", "[outputs]\n  pakages = []\n", "parse contract c.toml:2:3: unknown key outputs.pakages"},
		{"unknown key of a quoted table", "[package.\"a.b\"]\nbinarys = [\"x\"]\n", `parse contract c.toml:2:1: unknown key package."a.b".binarys`},
		{"unknown key in an array of tables", "[[package.a.wrapped]]\nbinary = 'a'\n[[package.a.wrapped]]\nvar = 'b'\n", "parse contract c.toml:4:1: unknown key package.a.wrapped.var"},
		{"string for a list", "[outputs]\npackages = \"a\"\n", "parse contract c.toml:2:1: outputs.packages: want a list, not a string"},
		{"integer in a list of strings", "[outputs]\npackages = [\n  1,\n]\n", "parse contract c.toml:2:1: outputs.packages: want a string, not an integer"},
		{"string for a boolean", "strict = 'yes'\n", "parse contract c.toml:1:1: strict: want a boolean, not a string"},
		{"package without a name", "[outputs]\npackages = ['']\n", `parse contract c.toml: parse package ""`},
		{"list for a table", "hashes = []\n", "parse contract c.toml:1:1: hashes: want a table, not a list"},
		{"table for a directive", "[units.service]\nType = { a = 1 }\n", "parse contract c.toml:2:9: want a string, an integer, a boolean or a list of such"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("c.toml", []byte(test.text))
			if err == nil || len(err.Error()) < len(test.want) || err.Error()[:len(test.want)] != test.want {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
		})
	}
}

func TestOpenSesame(t *testing.T) {
	c := openSesame()
	if n := len(c.Packages["open-sesame"].Binaries); n != 5 {
		t.Errorf("%d binaries of the headless package, want 5", n)
	}
	if got := c.Units.Service["LimitCORE"]; len(got) != 1 || got[0] != "0" {
		t.Errorf("LimitCORE %q, want 0", got)
	}
}
