package host

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestOpenRefusesAStoreThatDoesNotAnswer(t *testing.T) {
	if _, err := exec.LookPath("nix"); err != nil {
		t.Skip("needs Nix:", err)
	}
	socket := t.TempDir() + "/socket"
	_, err := Open(t.Context(), Options{System: matrix.X8664Linux, Env: append(os.Environ(), "NIX_REMOTE=unix://"+socket)})
	if err == nil || !strings.HasPrefix(err.Error(), "open store: ") || !strings.Contains(err.Error(), socket) {
		t.Fatalf("error %v, want one about opening the store at %s", err, socket)
	}
	if hints := hint.Of(err); len(hints) != 1 || !strings.Contains(hints[0], "nix-daemon") {
		t.Errorf("hints %q, want how to start the daemon", hints)
	}
}

// The messages are those of Nix 2.8, 2.26 and 2.34.
func TestStoreHints(t *testing.T) {
	for _, test := range []struct {
		stderr string
		root   bool
		want   string
	}{
		{"error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': No such file or directory", false, "sudo systemctl start"},
		{"error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': No such file or directory", true, "unset NIX_REMOTE"},
		{"error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused", false, "sudo systemctl start"},
		{"error: getting status of /nix/var/nix/daemon-socket/socket: Permission denied", false, "usermod -aG nix-users"},
		{`error: getting status of "/nix/var/nix/daemon-socket/socket": Permission denied`, false, "usermod -aG nix-users"},
		{"error: cannot open connection to remote store 'daemon': error: reading from file: Connection reset by peer", false, "allowed-users"},
		{"error: could not set permissions on '/nix/var/nix/profiles/per-user' to 755: Operation not permitted", false, "nix-setup-systemd"},
		{"error: opening lock file '/nix/var/nix/db/big-lock': Permission denied", false, "nix-setup-systemd"},
		{"error: opening lock file '/nix/var/nix/db/big-lock': Permission denied", true, ""},
		{"error: out of memory", false, ""},
	} {
		got := storeHint(test.stderr, test.root)
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("hint for %q, root %t: %q, want %q", test.stderr, test.root, got, test.want)
		}
	}
}
