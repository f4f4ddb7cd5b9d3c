package host

import (
	"slices"
	"strings"
)

// kept are the variables that children of this process get, each with the reason.
// All others could change a result or carry a secret.
var kept = []string{
	"PATH",    // where Nix and git are
	"HOME",    // Nix keeps its fetcher caches below it
	"USER",    // Nix finds its profile by it
	"LOGNAME", // the same, on some systems
	"TMPDIR",  // where there is room for builds

	"XDG_CACHE_HOME", // Nix's caches, where the user has moved them
	"SSH_AUTH_SOCK",  // flake inputs and remote builders over SSH

	"NIX_REMOTE",        // the store that this machine's owner has chosen
	"NIX_STATE_DIR",     // and where its database is
	"NIX_CONF_DIR",      // and where its nix.conf is
	"NIX_SSL_CERT_FILE", // certificates of a company's proxy
	"SSL_CERT_FILE",
	"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy", "ALL_PROXY",
}

// fixed are variables with the same value everywhere.
var fixed = []string{
	"LC_ALL=C.UTF-8",              // messages are parsed
	"NIX_USER_CONF_FILES=",        // a user's nix.conf is not part of the source
	"GIT_TERMINAL_PROMPT=0",       // nobody is there to answer
	"GIT_CONFIG_COUNT=0",          // injected configuration is not part of the source
	"NIX_SSHOPTS=-oBatchMode=yes", // likewise
}

// Environment returns what of env children get: a whitelist, and some fixed values.
func Environment(env []string) []string {
	out := slices.Clone(fixed)
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if slices.Contains(kept, name) {
			out = append(out, kv)
		}
	}
	return out
}
