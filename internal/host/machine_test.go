package host

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

func TestUntrustedUsersSubstitutersAreTold(t *testing.T) {
	var m machine
	m.daemon = true
	m.config.Substituters.Value = []string{"https://cache.nixos.org/"}
	m.config.TrustedSubstituters.Value = []string{"https://trusted.example"}
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
			if diff := cmp.Diff(test.want, m.ignored(s, test.trusted)); diff != "" {
				t.Errorf("ignored (-want +got):\n%s", diff)
			}
		})
	}
	m.daemon = false
	if got := m.ignored(s, false); got != nil {
		t.Errorf("without a daemon nobody ignores anything: got %v", got)
	}
}

func TestEnvironmentIsAWhitelist(t *testing.T) {
	got := Environment([]string{
		"PATH=/bin", "SECRET=x", "CACHIX_AUTH_TOKEN=x", "NIX_PATH=x", "NIX_CONFIG=x", "GITHUB_TOKEN=x", "HOME=/h", "LD_PRELOAD=x",
	})
	want := append(append([]string{}, fixed...), "PATH=/bin", "HOME=/h")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}
