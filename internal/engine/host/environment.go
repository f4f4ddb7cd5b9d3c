package host

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
)

// kept are the variables that children get. Others could change a result or hold a secret.
var kept = append([]string{
	"PATH",              // finds Nix and git
	"HOME",              // git finds the user's credentials below it; for Nix see NixEnvironment
	"USER",              // Nix finds its profile by it
	"LOGNAME",           // the same, on some systems
	"TMPDIR",            // has room for builds
	"XDG_CACHE_HOME",    // another place for the caches of Nix's fetchers, whose contents are verified by hashes
	"SSH_AUTH_SOCK",     // flake inputs and remote builders over SSH
	"NIX_REMOTE",        // the store of this machine
	"NIX_STATE_DIR",     // its database
	"NIX_CONF_DIR",      // the nix.conf of this machine, not of a user
	"NIX_SSL_CERT_FILE", // certificates of a company's proxy
	"SSL_CERT_FILE",     // the same, for git
}, child.Proxies...)

// fixed are variables with the same value everywhere.
var fixed = []string{
	"LC_ALL=C.UTF-8",        // messages are parsed
	"NIX_USER_CONF_FILES=",  // a user's nix.conf is not part of the source
	"NIX_PATH=",             // and neither are channels
	"GIT_TERMINAL_PROMPT=0", // no user can answer
	"GIT_CONFIG_COUNT=0",    // injected configuration is not part of the source
	// ssh does not prompt either, and closes the connection to a builder that does not answer.
	"NIX_SSHOPTS=-oBatchMode=yes -oConnectTimeout=10 -oServerAliveInterval=15 -oServerAliveCountMax=4",
}

// Environment returns the environment of a child: the allowed variables of env, and the fixed ones.
func Environment(env []string) []string { return slices.Concat(fixed, child.Select(env, kept...)) }

// missingHome is a home that does not exist: Debian's policy reserves the name. Nix accepts a missing home, but replaces
// one of another owner by the user's own.
const missingHome = "/nonexistent"

// NixEnvironment returns the environment of Nix. A user's home has many files that change what Nix does: nix.conf,
// registry, trusted-settings.json, channels, .netrc and .gitconfig. So Nix gets a missing home, and the caches of the real
// one.
func NixEnvironment(env []string) []string {
	out := Environment(env)
	caches, _ := child.Lookup(out, "XDG_CACHE_HOME")
	if home, _ := child.Lookup(out, "HOME"); caches == "" && home != "" {
		caches = filepath.Join(home, ".cache")
	}
	caches = cmp.Or(caches, filepath.Join(os.TempDir(), "open-sesame-ci-caches"))
	return append(child.Without(out, "HOME", "XDG_CACHE_HOME"), "XDG_CACHE_HOME="+caches, "HOME="+missingHome)
}
