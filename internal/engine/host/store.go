package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// noObject is the path of an object that no store has.
const noObject = string(nix.StoreDir) + "/00000000000000000000000000000000-none"

// openStore makes Nix open its store or connect to the daemon, which evaluation and nix config show do not.
//
// Nix creates a missing store. Two processes that do that at the same time fail ("creating symlink …: File exists"). So
// this is the first command, and no other one runs at the same time.
func (x *Executor) openStore(ctx context.Context) error {
	_, err := x.Run(ctx, engine.Command{Program: "nix-store", Args: []string{"--check-validity", "--print-invalid", noObject}})
	var exit *engine.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if problem := x.access.Problem(); problem != nil {
		return problem
	}
	err = fmt.Errorf("open store: %w", err)
	if advice := storeHint(exit.Stderr, os.Geteuid() == 0); advice != "" {
		return hint.Wrap(err, "%s", advice)
	}
	return err
}

// storeHint returns what to do about a store that Nix cannot open, by its error message; empty if that is not known.
func storeHint(stderr string, root bool) string {
	has := func(text string) bool { return strings.Contains(stderr, text) }
	switch {
	case has("socket") && has("Permission denied"):
		return "the daemon does not let this user in: sudo usermod -aG nix-users $USER, then log in again"
	case has("socket") && (has("No such file or directory") || has("Connection refused")) && root:
		return "start the daemon: systemctl start nix-daemon.socket, or nix-daemon & where there is no systemd; or use the store without it: unset NIX_REMOTE"
	case has("socket") && (has("No such file or directory") || has("Connection refused")):
		return "start the daemon: sudo systemctl start nix-daemon.socket, or sudo nix-daemon & where there is no systemd"
	case has("remote store 'daemon'"):
		return "the daemon ended the connection: see allowed-users in /etc/nix/nix.conf, and journalctl -u nix-daemon"
	case !root && (has("Permission denied") || has("Operation not permitted") || has("Read-only file system")):
		return "the store belongs to root, and there is no daemon: sudo apt-get install nix-setup-systemd (Debian, Ubuntu), or run as root"
	}
	return ""
}
