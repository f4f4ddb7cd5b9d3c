package project

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestParse(t *testing.T) {
	got, err := Parse("p.toml", []byte("flake = 'github:a/b'\npackages = ['a', 'b']\ncachix = 'c'\nmemlock = '256M'\n"))
	want := &Project{Flake: "github:a/b", Packages: []matrix.Package{"a", "b"}, Cachix: "c", Memlock: 256 << 20}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, difference (-want +got):\n%s", err, diff)
	}
}

func TestParseIsStrict(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"syntax":                 {"flake = \n", "parse project p.toml:1:9: "},
		"unknown key":            {"flake = 'f'\ncachyx = 'c'\n", "parse project p.toml:2:1: unknown key cachyx"},
		"string for a list":      {"packages = 'a'\n", "parse project p.toml:1:1: packages: want a list, not a string"},
		"integer in a list":      {"substituters = [1]\n", "parse project p.toml:1:1: substituters: want a string, not an integer"},
		"size of another unit":   {"memlock = '1T'\n", `parse size "1T"`},
		"size below zero":        {"memlock = '-1'\n", `parse size "-1"`},
		"empty size":             {"memlock = ''\n", "parse size: it is empty"},
		"package without a name": {"packages = ['']\n", `parse project p.toml: parse package ""`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse("p.toml", []byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
		})
	}
}
