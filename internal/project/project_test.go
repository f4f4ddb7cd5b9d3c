package project

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const all = `
packages = ["a", "b"]
systems = ["aarch64-linux"]
memlock = "256M"
rebuild = "warn"
contract-file = "nix/contract.toml"
keep-revisions = 3
substituters = ["https://c.example"]
trusted-keys = ["c.example-1:AAAA"]
served-by = "https://c.example"
cachix = "c"
public-key = "c.cachix.org-1:AAAA"
secret-env = "TOKEN"
engines = ["host"]
builders = ["ssh-ng://arm.example aarch64-linux"]
`

func TestParse(t *testing.T) {
	got, err := Parse("p.toml", []byte(all))
	if err != nil {
		t.Fatal(err)
	}
	want := &Project{
		Packages: []matrix.Package{"a", "b"}, Systems: []matrix.System{"aarch64-linux"}, Memlock: 256 << 20, Rebuild: Warn,
		ContractFile: "nix/contract.toml",
		Trust: Trust{
			Substituters: []string{"https://c.example"}, TrustedKeys: []string{"c.example-1:AAAA"}, ServedBy: "https://c.example",
			Cachix: "c", PublicKey: "c.cachix.org-1:AAAA", SecretEnv: "TOKEN", KeepRevisions: 3,
			Engines: []string{"host"}, Builders: []string{"ssh-ng://arm.example aarch64-linux"},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Project{})); diff != "" {
		t.Errorf("difference (-want +got):\n%s", diff)
	}
}

func TestFileWithoutSettingsHasTheDefaults(t *testing.T) {
	got, err := Parse("p.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, cmpopts.IgnoreUnexported(Project{})); diff != "" {
		t.Errorf("difference (-want +got):\n%s", diff)
	}
	if p := Default(); p.Cachix != "" || p.ServedBy != "" || p.SecretEnv != "" || p.Contract != nil || p.Packages != nil {
		t.Errorf("by default something is published, asked for or required: %+v", p)
	}
}

func TestParseIsStrict(t *testing.T) {
	for name, test := range map[string]struct{ text, want, hint string }{
		"syntax":                 {"cachix = \n", "parse project p.toml:1:10: ", ""},
		"unknown key":            {"rebuild = 'off'\ncachyx = 'c'\n", "parse project p.toml:2:1: unknown key cachyx", "did you mean cachix?"},
		"unknown contract key":   {"[contract.outputs]\npakages = []\n", "parse project p.toml:2:1: unknown key contract.outputs.pakages", "did you mean packages?"},
		"flake":                  {"flake = 'github:a/b'\n", "parse project p.toml:1:1: unknown key flake", ""},
		"string for a list":      {"packages = 'a'\n", "parse project p.toml:1:1: packages: want a list, not a string", ""},
		"integer in a list":      {"substituters = [1]\n", "parse project p.toml:1:1: substituters: want a string, not an integer", ""},
		"size of another unit":   {"memlock = '1T'\n", `parse project p.toml:1:12: parse size "1T"`, ""},
		"size below zero":        {"memlock = '-1'\n", `parse project p.toml:1:12: parse size "-1"`, ""},
		"empty size":             {"memlock = ''\n", "parse project p.toml:1:12: parse size: it is empty", ""},
		"package without a name": {"packages = ['']\n", `parse project p.toml:1:1: packages: parse package ""`, ""},
		"system":                 {"\nsystems = ['aarch64-linx']\n", `parse project p.toml:2:1: systems: parse system "aarch64-linx"`, "did you mean aarch64-linux?"},
		"rebuild":                {"rebuild = 'enforced'\n", `parse project p.toml:1:1: rebuild: "enforced" is not one of [enforce warn off]`, "did you mean enforce?"},
		"no system":              {"systems = []\n", "parse project p.toml:1:1: systems: want at least one", ""},
		"revisions":              {"keep-revisions = -1\n", "parse project p.toml:1:1: keep-revisions: -1: want 0 or more", ""},
		"file outside":           {"contract-file = '../c.toml'\n", `parse project p.toml:1:1: contract-file: "../c.toml" is not a file of the flake`, ""},
		"two contracts":          {"contract-file = 'c.toml'\n[contract]\nstrict = true\n", "parse project p.toml:1:1: contract-file: ", ""},
		"package of a contract":  {"[contract.outputs]\npackages = ['']\n", "parse project p.toml:1:2: contract: parse package", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("p.toml", []byte(test.text))
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
			if got := strings.Join(hint.Of(err), " "); got != test.hint {
				t.Errorf("hint %q, want %q", got, test.hint)
			}
		})
	}
}

func TestOriginOfASetting(t *testing.T) {
	p, err := Parse("p.toml", []byte("# mine\nmemlock = '1M'\n[contract]\nstrict = true\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range p.Settings() {
		got[s.Name] = s.Origin
	}
	for name, want := range map[string]string{"memlock": "p.toml:2", "contract": "p.toml:3", "cachix": "default", "substituters": "default"} {
		if got[name] != want {
			t.Errorf("%s is from %q, want %q", name, got[name], want)
		}
	}
}

// Each setting either extends trust, and is lost without consent, or does not, and stays.
func TestWithoutTrust(t *testing.T) {
	extends := map[string]bool{
		"substituters": true, "trusted-keys": true, "served-by": true, "cachix": true, "public-key": true, "secret-env": true,
		"engines": true, "builders": true,
		"packages": false, "systems": false, "memlock": false, "rebuild": false, "contract-file": false, "keep-revisions": true, "contract": false,
	}
	text := map[string]string{"contract": "[contract]\nstrict = true\n"}
	for _, line := range strings.Split(strings.TrimSpace(all), "\n") {
		key, _, _ := strings.Cut(line, " ")
		text[key] = line + "\n"
	}
	for _, s := range Default().Settings() {
		want, known := extends[s.Name]
		if !known {
			t.Errorf("setting %s: does it extend trust?", s.Name)
			continue
		}
		p, err := Parse("p.toml", []byte(text[s.Name]))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(p.Extends()) > 0; got != want {
			t.Errorf("setting %s extends trust: %t, want %t", s.Name, got, want)
		}
		if isDefault := cmp.Equal(p.WithoutTrust(), Default(), cmpopts.IgnoreUnexported(Project{})); isDefault != want {
			t.Errorf("setting %s is lost without consent: %t, want %t", s.Name, isDefault, want)
		}
	}
}

func TestSizesAreWrittenAsTheyAreRead(t *testing.T) {
	for _, want := range []string{"0", "1", "1023", "1K", "1025", "256M", "3G", "1536M"} {
		size, err := ParseSize(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := size.MarshalText(); err != nil || string(got) != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

// The decoder takes a key in any case. A setting that it took in this way would be no setting that extends trust.
func TestASettingInAnotherCaseIsUnknown(t *testing.T) {
	for _, key := range tomlfile.KeysOf(Trust{}) {
		for _, name := range []string{strings.ToUpper(key), strings.ToUpper(key[:1]) + key[1:], strings.Replace(key, "s", "\u017f", 1)} {
			for _, value := range []string{`"x"`, `["x"]`} {
				if p, err := Parse(FileName, []byte(strconv.Quote(name)+" = "+value)); err == nil && name != key {
					t.Errorf("%q is accepted; the settings that need consent are %q", name, p.Extends())
				}
			}
		}
	}
}

// A stranger's file is parsed before the user consents, and errors show what a file of builders has.
func TestBuildersNameNoFileOfThisMachine(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("ssh://a - - not-a-number-but-a-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"@" + secret, " @ " + secret, "ssh://a; @" + secret, "ssh://a\n@" + secret} {
		_, err := Parse(FileName, fmt.Appendf(nil, "builders = [%q]", value))
		if err == nil || !strings.HasPrefix(err.Error(), "parse project nix-release.toml:1:1: builders: ") || strings.Contains(err.Error(), "but-a-secret") {
			t.Errorf("builder %q: error %v, want one about a machine each", value, err)
		}
	}
	if _, err := Parse(FileName, []byte(`builders = ["ssh-ng://user@arm.example aarch64-linux"]`)); err != nil {
		t.Error(err)
	}
}
