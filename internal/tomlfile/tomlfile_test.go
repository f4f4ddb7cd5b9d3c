package tomlfile

import (
	"errors"
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
		"case of a key":          {"Name = 'a'\n", "parse thing f.toml:1:1: unknown key Name", "did you mean name?"},
		"case of a dotted key":   {"PART.colour = 'a'\n", "parse thing f.toml:1:1: unknown key PART", "did you mean part?"},
		"case of a table":        {"[Part]\ncolour = 'a'\n", "parse thing f.toml:1:2: unknown key Part", "did you mean part?"},
		"case in a list":         {"list = [{Colour = 'a'}]\n", "parse thing f.toml:1:10: unknown key list.Colour", "did you mean colour?"},
		"type":                   {"level = 'a'\n", "parse thing f.toml:1:1: level: want an integer, not a string", ""},
		"table for a string":     {"[name]\n", "parse thing f.toml:1:2: name: want a string, not a table", ""},
		"list for a map":         {"parts = [1]\n", "parse thing f.toml:1:1: parts: want a table", ""},
		"value for a map's part": {"[parts]\na = 'b'\n", "parse thing f.toml:2:1: parts.a: want a table, not a string", ""},
		"control character":      {"\x1a0", "parse thing f.toml:1:1: ", ""},
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

func TestUnmarshalIgnoresUnknownKeys(t *testing.T) {
	var got table
	if err := Unmarshal("f.toml", []byte("name = 'a'\nother = 1\n"), &got); err != nil || got.Name != "a" {
		t.Errorf("name %q, error %v", got.Name, err)
	}
	err := Unmarshal("f.toml", []byte("name = 'a'\nother =\n"), &got)
	if syntax, ok := errors.AsType[*SyntaxError](err); !ok || syntax.Line != 2 || !strings.HasPrefix(err.Error(), "parse f.toml:2:") {
		t.Errorf("error %v, want a syntax error in line 2", err)
	}
}

// The position of an error is in the file.
func FuzzDecode(f *testing.F) {
	f.Add("name = 'a'\n[parts.a]\ncolour = 'red'\n")
	f.Add("parts = 'a'")
	f.Add("[[parts]]\n\"\\u0000\" = 1")
	f.Fuzz(func(t *testing.T, text string) {
		err := Unmarshal("f.toml", []byte(text), &table{})
		if syntax, ok := errors.AsType[*SyntaxError](err); ok && (syntax.Line < 1 || syntax.Line > strings.Count(text, "\n")+1 || syntax.Column < 1) {
			t.Errorf("%v in %d lines", err, strings.Count(text, "\n")+1)
		}
		_, _ = Decode("thing", "f.toml", []byte(text), &table{})
	})
}
