package main

import (
	"testing"

	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
)

// plan -v shows the values that apply: those of the flags, and of the file where the command has no such flag.
func TestSettingsAreThoseOfTheRun(t *testing.T) {
	p, err := project.Parse(project.FileName, []byte(`rebuild = "warn"
contract-file = "own.toml"
builders = ["ssh://file x86_64-linux"]
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want map[string][2]string
	}{
		"file": {nil, map[string][2]string{
			"rebuild": {"warn", "nix-release.toml:1"}, "contract-file": {"own.toml", "nix-release.toml:2"}, "builders": {"ssh://file x86_64-linux", "nix-release.toml:3"},
		}},
		"flags": {[]string{"--contract-file", "testdata/other.toml", "--builders", "ssh://flag x86_64-linux"}, map[string][2]string{
			"contract-file": {"testdata/other.toml", "flag"}, "builders": {"ssh://flag x86_64-linux", "flag"},
		}},
		"no contract": {[]string{"--contract", "off"}, map[string][2]string{"contract-file": {"", "flag"}, "contract": {"", "flag"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var o options
			flags := pflag.NewFlagSet("plan", pflag.ContinueOnError)
			o.register(flags)
			if err := flags.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			o.project, o.given = *p, given(flags)
			for _, s := range o.settings() {
				if want, ok := test.want[s.Name]; ok && (s.Value != want[0] || s.Origin != want[1]) {
					t.Errorf("%s is %q from %q, want %q", s.Name, s.Value, s.Origin, want)
				}
			}
		})
	}
}
