package tomlfile

import (
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

type table struct {
	Name  string           `toml:"name"`
	Level int8             `toml:"level,omitempty"`
	Part  *part            `toml:"part"`
	Parts map[string]*part `toml:"parts"`
	List  []part           `toml:"list"`
}

type part struct {
	Colour string `toml:"colour"`
}

func TestErrorsHaveAPositionAndTheNearestName(t *testing.T) {
	for name, test := range map[string]struct{ text, want, hint string }{
		"syntax":                 {"name =\n", "parse thing f.toml:1:7: ", ""},
		"two values":             {"name = 'a'\nname = 'b'\n", "parse thing f.toml:2:", ""},
		"key":                    {"name = 'a'\nlevle = 1\n", "parse thing f.toml:2:1: unknown key levle", "did you mean level?"},
		"key of a table":         {"[part]\n  color = 'a'\n", "parse thing f.toml:2:3: unknown key part.color", "did you mean colour?"},
		"key of a map's table":   {"[parts.\"a.b\"]\ncolor = 'a'\n", `parse thing f.toml:2:1: unknown key parts."a.b".color`, "did you mean colour?"},
		"key of a list's table":  {"[[list]]\ncolor = 'a'\n", "parse thing f.toml:2:1: unknown key list.color", "did you mean colour?"},
		"key unlike every other": {"xyzzyxyzzy = 1\n", "parse thing f.toml:1:1: unknown key xyzzyxyzzy", ""},
		"type":                   {"level = 'a'\n", "parse thing f.toml:1:1: level: want an integer, not a string", ""},
		"table for a string":     {"[name]\n", "parse thing f.toml:1:2: name: want a string, not a table", ""},
		"range":                  {"name = 'a'\nlevel = 1000\n", "parse thing f.toml:2:9: 1000 is out of range for int8", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode("thing", "f.toml", []byte(test.text), &table{})
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
			if hints := strings.Join(hint.Of(err), " "); hints != test.hint {
				t.Errorf("hint %q, want %q", hints, test.hint)
			}
		})
	}
}

func TestFileKnowsItsKeys(t *testing.T) {
	f, err := Decode("thing", "f.toml", []byte("# a comment\nname = 'a'\n\n[part]\ncolour = 'red'\n"), &table{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Keys(), []string{"name", "part"}; !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
	if got := f.Line("name"); got != "f.toml:2" {
		t.Errorf("name is at %s, want f.toml:2", got)
	}
	if got, want := f.Errorf([]string{"part", "colour"}, "not %s", "red").Error(), "parse thing f.toml:5:1: not red"; got != want {
		t.Errorf("error %s, want %s", got, want)
	}
}
