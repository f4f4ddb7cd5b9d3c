package host

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestDescribeNamesIgnoredSubstituters(t *testing.T) {
	var m machine
	m.daemon = true
	m.config = config{"substituters": "https://cache.nixos.org/", "trusted-substituters": "https://trusted.example"}
	s := nix.Settings{"substituters": "https://cache.nixos.org https://trusted.example/ https://other.example"}
	for _, test := range []struct {
		name    string
		trusted bool
		want    []string
	}{
		{"a user whom the daemon trusts", true, nil},
		{"any other user", false, []string{"https://other.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := m.ignored(s, test.trusted)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("ignored (-want +got):\n%s", diff)
			}
		})
	}
	m.config = config{}
	if got, err := m.ignored(s, false); err == nil || !strings.Contains(err.Error(), "no setting substituters") {
		t.Errorf("ignored = %v, %v, if Nix prints no substituters", got, err)
	}
	m.daemon = false
	if got, err := m.ignored(s, false); got != nil || err != nil {
		t.Errorf("without a daemon, substituters are ignored: %v, %v", got, err)
	}
}

func TestEnvironmentIsAWhitelist(t *testing.T) {
	given := []string{
		"PATH=/bin", "SECRET=x", "CACHIX_AUTH_TOKEN=x", "NIX_PATH=x", "NIX_CONFIG=x", "GITHUB_TOKEN=x", "HOME=/h", "LD_PRELOAD=x",
		"NIX_USER_CONF_FILES=/evil", "XDG_CONFIG_HOME=/evil", "XDG_DATA_HOME=/evil", "NIX_CURL_FLAGS=x", "TZ=x", "LANG=x", "SOURCE_DATE_EPOCH=1",
	}
	want := append(append([]string{}, fixed...), "PATH=/bin", "HOME=/h")
	if diff := cmp.Diff(want, Environment(given)); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	for name, test := range map[string]struct{ more, want []string }{
		"a home":             {nil, []string{"PATH=/bin", "XDG_CACHE_HOME=/h/.cache", "HOME=/nonexistent"}},
		"caches in a place":  {[]string{"XDG_CACHE_HOME=/c"}, []string{"PATH=/bin", "XDG_CACHE_HOME=/c", "HOME=/nonexistent"}},
		"caches in no place": {[]string{"XDG_CACHE_HOME="}, []string{"PATH=/bin", "XDG_CACHE_HOME=/h/.cache", "HOME=/nonexistent"}},
		"a store of its own": {[]string{"NIX_REMOTE=local"}, []string{"PATH=/bin", "NIX_REMOTE=local", "XDG_CACHE_HOME=/h/.cache", "HOME=/nonexistent"}},
	} {
		got := NixEnvironment(append(slices.Clone(given), test.more...))
		if diff := cmp.Diff(append(slices.Clone(fixed), test.want...), got); diff != "" {
			t.Errorf("with %s, Nix's environment (-want +got):\n%s", name, diff)
		}
	}
}

// The page on reproducibility names all variables.
func TestVariablesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reproducibility.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range kept {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/reproducibility.md does not name %s", name)
		}
	}
	for _, kv := range fixed {
		if !strings.Contains(string(page), "`"+kv+"`") {
			t.Errorf("docs/reproducibility.md does not name %s", kv)
		}
	}
}

func TestDescribeNamesSandboxPaths(t *testing.T) {
	var m machine
	m.config = config{"sandbox-paths": "/bin/sh=/nix/store/x-busybox/bin/busybox"}
	if notes := m.notes(); notes != nil {
		t.Errorf("there is a note about Nix's own shell: %q", notes)
	}
	m.config["sandbox-paths"] += " /usr/lib? /opt=/srv"
	if notes := m.notes(); len(notes) != 1 || !strings.Contains(notes[0], "/usr/lib? /opt=/srv") || strings.Contains(notes[0], "busybox") {
		t.Errorf("notes %q", notes)
	}
}

func TestOldestVersionIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nNix " + nix.Oldest.Text + " ("; !strings.Contains(string(page), want) {
		t.Errorf("docs/operations.md does not have %q, the oldest version of Nix that is supported", want)
	}
}

// The kernel of an x86_64 machine runs programs of i686-linux without an emulator, and Nix has it in extra-platforms.
func TestExtraPlatformsOfNixAreCompatible(t *testing.T) {
	nixtest.Need(t)
	native, _ := systems()
	if native != matrix.X8664Linux {
		t.Skip("i686-linux is compatible with x86_64-linux alone")
	}
	for system, want := range map[matrix.System]bool{"i686-linux": true, matrix.X8664Linux: false, "s390x-linux": false} {
		x, err := Open(t.Context(), Options{System: system, Env: os.Environ()})
		if err != nil {
			t.Fatal(err)
		}
		e, err := x.Describe(t.Context())
		if err != nil || e.Compatible != want || e.Emulator != "" && want {
			t.Errorf("engine for %s is %+v, %v, want compatible: %t", system, e, err, want)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}
