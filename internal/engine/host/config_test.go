package host

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The fixtures are the output of the versions with this nix.conf:
//
//	sandbox-paths = /bin/sh=/bin/busybox /usr/lib? /opt=/srv /a=/b?
//	trusted-users = root @wheel
func TestConfigurationOfEachVersion(t *testing.T) {
	for _, version := range []string{"2.8", "2.26", "2.34"} {
		t.Run(version, func(t *testing.T) {
			out, err := os.ReadFile("testdata/config-nix-" + version + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			c := parseConfig(string(out))
			for name, want := range map[string][]string{
				"system":               {"x86_64-linux"},
				"store":                {"auto"},
				"build-users-group":    {"nixbld"},
				"substituters":         {"https://cache.nixos.org/"},
				"trusted-substituters": nil,
				"trusted-users":        {"root", "@wheel"},
				"sandbox-paths":        {"/a=/b?", "/bin/sh=/bin/busybox", "/opt=/srv", "/usr/lib?"},
			} {
				got, err := c.list(name)
				if err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(want, got, cmp.Transformer("", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			m := machine{config: c}
			if native, err := c.native(); err != nil || native != matrix.X8664Linux {
				t.Errorf("native %q, %v", native, err)
			}
			if notes := m.notes(); len(notes) != 1 || !strings.Contains(notes[0], "/a=/b? /opt=/srv /usr/lib?") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func TestConfigurationNeedsOnlyTheSettingsInUse(t *testing.T) {
	const unknown = "a-list = [1,2]\nan-object = {\"a\":{}}\nempty = \nno value\n"
	c := parseConfig(unknown + "system = x86_64-linux\nstore = auto\n")
	if native, err := c.native(); err != nil || native != matrix.X8664Linux {
		t.Errorf("native %q, %v, for a configuration with unknown settings", native, err)
	}
	for want, c := range map[string]config{
		"no setting system":                          parseConfig(unknown),
		`setting system: parse system "sparc-linux"`: parseConfig("system = sparc-linux\n"),
	} {
		if _, err := c.native(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
