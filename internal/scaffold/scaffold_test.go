package scaffold

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// names are texts that mean something in TOML, YAML, a shell or an expression of GitHub.
var names = []string{
	"a", "a b", `a"b`, `a'b`, `"""`, `'''`, `a\b`, "a.b", "a#b", "[a]", "= 1", "${{ secrets.X }}", "$(id)", "`id`", "- a: b", "é", "-", "true",
}

// broken are names that no package can have, but other outputs.
var broken = []string{"a\nb", "a\r\nb = 1", "\"\n[package.x]\n", "a\x00b", "\x1b[31m", "\u2028", "\x7f", ""}

func TestSettingsHaveTheirMeaning(t *testing.T) {
	for _, name := range names {
		p := project.Default()
		p.Systems = []matrix.System{matrix.AArch64Linux}
		p.Packages, p.ContractFile, p.Memlock = []matrix.Package{matrix.Package(name), "other"}, ContractFile, 256<<20
		p.Cachix, p.PublicKey, p.SecretEnv, p.ServedBy = name, name, "TOKEN", name
		p.Substituters, p.TrustedKeys = []string{name}, []string{}
		text, err := Settings(p, "v1")
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		got, err := project.Parse(project.FileName, text)
		if err != nil {
			t.Errorf("%q: %v\n%s", name, err, text)
		}
		if diff := cmp.Diff(p, got, cmpopts.IgnoreUnexported(project.Project{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	}
	p := project.Default()
	p.Packages = []matrix.Package{"a\nb"}
	if text, err := Settings(p, "v1"); err == nil {
		t.Errorf("no error for a package that cannot be shown:\n%s", text)
	}
	p = project.Default()
	p.SecretEnv = "a b"
	if text, err := Settings(p, "v1"); err == nil {
		t.Errorf("no error for a variable that cannot be:\n%s", text)
	}
}

// Settings with their defaults are comments, and each of them is a valid setting.
func TestExamplesOfSettingsAreValid(t *testing.T) {
	text, err := Settings(project.Default(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	for line := range strings.Lines(string(text)) {
		if setting, ok := strings.CutPrefix(line, "# "); ok && strings.Contains(line, " = ") {
			examples++
			if _, err := project.Parse(project.FileName, []byte(setting)); err != nil {
				t.Error(err)
			}
		}
	}
	if examples < 8 {
		t.Errorf("%d examples in\n%s", examples, text)
	}
}

func TestContractHasItsMeaning(t *testing.T) {
	for i, name := range append(append([]string{}, names...), broken...) {
		c := &contract.Contract{Packages: map[matrix.Package]contract.Package{}}
		c.Outputs.Modules, c.Outputs.DevShells, c.Outputs.Overlay = []string{name}, []string{name}, name
		if i < len(names) {
			c.Outputs.Packages = []matrix.Package{matrix.Package(name)}
			c.Packages[matrix.Package(name)] = contract.Package{Binaries: []string{name}, Units: []string{name}}
			c.Units = &contract.Units{Dir: name, Service: contract.Expectations{name: {name}}}
		}
		text, err := Contract(c, matrix.X8664Linux)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		got, err := contract.Parse("x", text)
		if err != nil {
			t.Errorf("%q: %v\n%s", name, err, text)
			continue
		}
		c.File = "x"
		if diff := cmp.Diff(c, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	}
	// Nothing is written that the program would refuse.
	c := &contract.Contract{Outputs: contract.Outputs{Modules: []string{"\xff"}}}
	if text, err := Contract(c, matrix.X8664Linux); err == nil {
		t.Errorf("no error for invalid UTF-8:\n%q", text)
	}
}

// The workflow has no name of the flake in it. Names of the user's cache cannot leave their strings.
func TestWorkflowIsSafe(t *testing.T) {
	want, err := Workflow(project.Default(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(append([]string{}, names...), broken...) {
		p := project.Default()
		p.Packages, p.ContractFile = []matrix.Package{matrix.Package(name)}, name
		plain, err := Workflow(p, "v1")
		if diff := cmp.Diff(string(want), string(plain)); err != nil || diff != "" {
			t.Errorf("%q: error %v, or a name of the flake (-want +got):\n%s", name, err, diff)
		}
		p.Cachix, p.PublicKey, p.ServedBy, p.Substituters = name+" ", name+" ", name+" ", []string{name}
		text, err := Workflow(p, "v1")
		if strings.Contains(name, "${{") {
			if err == nil {
				t.Errorf("%q: no error for an expression", name)
			}
			continue
		}
		var w struct {
			Jobs map[string]struct {
				Steps []struct{ With map[string]string }
			}
		}
		if err == nil {
			err = yaml.Unmarshal(text, &w)
		}
		if err != nil {
			t.Errorf("%q: %v\n%s", name, err, text)
			continue
		}
		want := map[string]string{
			"role": "publish", "cachix": name + " ", "cache": name + " ", "cache-key": name + " ", "args": "--substituter\n" + name,
			"token": "${{ secrets." + DefaultSecret + " }}",
		}
		if diff := cmp.Diff(want, w.Jobs["publish"].Steps[0].With); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	}
	for _, secret := range []string{"A }} ${{ github.token", "a-b", "1a", "GITHUB_TOKEN", "a\nb"} {
		p := project.Default()
		p.Cachix, p.SecretEnv = "c", secret
		if text, err := Workflow(p, "v1"); err == nil {
			t.Errorf("no error for the secret %q:\n%s", secret, text)
		}
	}
}

func ExampleWorkflow() {
	p := project.Default()
	p.Cachix = "mine"
	text, _ := Workflow(p, "v1.2.3")
	_, steps, _ := strings.Cut(string(text), "timeout-minutes: 90\n")
	fmt.Print(steps)
	// Output:
	//     steps:
	//       - uses: scopecreep-zip/open-sesame-ci@v1.2.3
	//         with:
	//           role: publish
	//           cachix: "mine"
	//           token: ${{ secrets.CACHIX_AUTH_TOKEN }}
}
