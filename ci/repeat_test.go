package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// parseOptions reads a command line of release.
func parseOptions(t *testing.T, args ...string) options {
	t.Helper()
	var o options
	c := &cobra.Command{RunE: func(c *cobra.Command, args []string) error { return o.parse(c.Flags(), args) }}
	o.register(c.Flags())
	o.rebuild.register(c.Flags(), releaseCommand.rebuild)
	c.SetArgs(args)
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRepeatHint(t *testing.T) {
	o := parseOptions(t, "./f", "--engine", "dagger", "--engine", "aarch64-linux=tcp://arm:8080", "--image", "nixos/nix@sha256:"+strings.Repeat("0", 64),
		"--served-by", "none", "--timeout", "5m", "--strict", "--out", "elsewhere", "--timeout", "5m", "--json", "--rebuild-on", "host", "--ref", "v1")
	m := &run.Manifest{Cells: []run.CellResult{{
		System: matrix.AArch64Linux, Verdict: run.Failed, Packages: []run.PackageResult{{Package: "a b", Verdict: run.Failed}, {Package: "good", Verdict: run.Built}},
	}}}
	const flags = "--engine dagger --engine aarch64-linux=tcp://arm:8080 --image nixos/nix@sha256:0000000000000000000000000000000000000000000000000000000000000000 --served-by none --timeout 5m --strict=true --out elsewhere"
	rebuilt := &run.Manifest{Cells: []run.CellResult{{
		System: matrix.AArch64Linux, Verdict: run.Failed, Packages: []run.PackageResult{{Package: "good", Verdict: run.Built}},
	}}}
	for _, test := range []struct {
		m    *run.Manifest
		err  error
		want string
	}{
		{m, errors.New("built badly"), "to repeat it: go run ./ci build ./f --ref v1 --system aarch64-linux --package 'a b' " + flags},
		{m, &run.OutcomeError{Text: "differs", End: run.OutcomeDifferent}, "to repeat it: go run ./ci build ./f --ref v1 --rebuild --system aarch64-linux --package 'a b' " + flags + " --rebuild-on host"},
		{rebuilt, errors.New("the second build failed"), "to repeat it: go run ./ci build ./f --ref v1 --rebuild --system aarch64-linux " + flags + " --rebuild-on host"},
	} {
		hints := hint.Of(repeatHint(t.Context(), test.err, o, test.m))
		if len(hints) != 1 || hints[0] != test.want {
			t.Errorf("hints of %v:\n%q, want\n%q", test.err, hints, test.want)
		}
	}
	if got := fixHint(o); !strings.HasPrefix(got, "or correct all of them in a clone: go run ./ci check --fix DIRECTORY --engine dagger ") {
		t.Errorf("fix: %q", got)
	}
}

func TestResumeCommand(t *testing.T) {
	f := publishOptions{secret: defaultSecret}
	if got, want := resumeCommand("my out", f), "go run ./ci push --resume --out 'my out'"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	f.cachix, f.url, f.secret = "another", "http://localhost:1", "MINE"
	if got, want := resumeCommand("out", f), "go run ./ci push --resume --out out --cachix another --cachix-url http://localhost:1 --secret-env MINE"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A flag whose value is optional takes no argument after a space: it would be another flake.
func TestHintForConsentCanBePasted(t *testing.T) {
	parsed := func(args []string) *cobra.Command {
		c := newPipeline(process{}, releaseCommand, "")
		if err := c.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := parsed([]string{"./flake", "--rebuild=warn", "--system", "x86_64-linux", "-v", "--accept-config=false"})
	o := options{command: releaseCommand.name, given: given(first.Flags())}
	o.project.Flake = "./flake"
	hint := o.again("--accept-config")
	_, args, _ := strings.Cut(hint, " "+releaseCommand.name+" ")
	again := parsed(strings.Fields(args))
	if got := again.Flags().Args(); !slices.Equal(got, []string{"./flake"}) {
		t.Errorf("the arguments of %s are %q", hint, got)
	}
	for name, want := range map[string]string{"rebuild": warn, "accept-config": "true", "verbose": "true"} {
		if got := again.Flag(name).Value.String(); got != want {
			t.Errorf("%s has --%s %s, want %s", hint, name, got, want)
		}
	}
}

// A flake reference has no credentials where it is shown, and is as it was given otherwise.
func TestShownReferenceHasNoCredentials(t *testing.T) {
	for text, want := range map[string]string{
		"git+https://user:s3cret@h.example/r":     "git+https://h.example/r",
		"git+https://h.example/r?token=s3cret":    "git+https://h.example/r",
		"git+ssh://git:s3cret@h.example/r?ref=v1": "git+ssh://git@h.example/r?ref=v1",
		"git+ssh://git@h.example/r":               "git+ssh://git@h.example/r",
		"https://user:s3cret@h.example/r.tar.gz":  "tarball+https://h.example/r.tar.gz",
		"foo://user:s3cret@h.example/r":           "foo://h.example/r",
		"github:o/r":                              "github:o/r",
		".":                                       ".",
		"./a b/":                                  "./a b/",
	} {
		o := options{command: "release"}
		o.project.Flake = text
		if got := shownRef(text); got != want || strings.Contains(o.again("-v"), "s3cret") {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}

// plan -v shows the values that the run has: a flag's instead of the file's.
func TestSettingsHaveTheValuesOfFlags(t *testing.T) {
	contract := filepath.Join(t.TempDir(), "flag.toml")
	writeTest(t, contract, "[outputs]\n")
	p, err := project.Parse("p.toml", []byte("packages = ['a']\nsystems = ['aarch64-linux']\nmemlock = '64M'\nrebuild = 'warn'\nkeep-revisions = 3\n[contract]\nstrict = true\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want map[string]string
	}{
		"file": {nil, map[string]string{
			"packages": "a p.toml:1", "systems": "aarch64-linux p.toml:2", "memlock": "64M p.toml:3", "rebuild": "warn p.toml:4", "contract": " p.toml:6",
			"substituters": "https://cache.nixos.org default", "engines": " default",
		}},
		"flags": {
			[]string{
				"--package", "b", "--system", "x86_64-linux", "--memlock", "0", "--rebuild=off", "--contract-file", contract, "--substituter", "none",
				"--trusted-key", "none", "--served-by", "none", "--engine", "auto", "--builders", "ssh://arm aarch64-linux",
			},
			map[string]string{
				"packages": "b flag", "systems": "x86_64-linux flag", "memlock": "0 flag", "rebuild": "off flag", "contract-file": contract + " flag",
				"substituters": " flag", "trusted-keys": " flag", "served-by": " flag", "engines": "auto flag", "builders": "ssh://arm aarch64-linux flag",
			},
		},
	} {
		o := parseOptions(t, append([]string{"./f"}, test.args...)...)
		if err := o.settle(*p); err != nil {
			t.Fatal(err)
		}
		for _, s := range o.settings() {
			if want, ok := test.want[s.Name]; ok && s.Value+" "+s.Origin != want {
				t.Errorf("%s: %s is %q, want %q", name, s.Name, s.Value+" "+s.Origin, want)
			}
		}
	}
	o := options{}
	o.contract.mode, o.engineOptions.jobs = enforce, "auto" // plan has no --rebuild
	if err := o.settle(*p); err != nil {
		t.Fatal(err)
	}
	if s := o.settings()[3]; s.Name != "rebuild" || s.Value != "warn" {
		t.Errorf("plan shows %+v", s)
	}
}
