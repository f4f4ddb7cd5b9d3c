package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A variable that children of this process get, with the reason.
type variable struct{ name, reason string }

// kept are those that are passed on. All others could change a result or carry a secret.
var kept = []variable{
	{"PATH", "where Nix and git are"},
	{"HOME", "git finds the user's credentials below it; Nix gets another one, see NixEnvironment"},
	{"USER", "Nix finds its profile by it"},
	{"LOGNAME", "the same, on some systems"},
	{"TMPDIR", "where there is room for builds"},
	{"XDG_CACHE_HOME", "where the user has moved the caches of Nix's fetchers, whose contents are compared with hashes"},
	{"SSH_AUTH_SOCK", "flake inputs and remote builders over SSH"},
	{"NIX_REMOTE", "the store that this machine's owner has chosen"},
	{"NIX_STATE_DIR", "where its database is"},
	{"NIX_CONF_DIR", "where its nix.conf is: the owner's, not a user's"},
	{"NIX_SSL_CERT_FILE", "certificates of a company's proxy"},
	{"SSL_CERT_FILE", "the same, for git"},
	{"http_proxy", "the way out of this network"},
	{"https_proxy", "the same"},
	{"no_proxy", "the same"},
	{"all_proxy", "the same"},
	{"HTTP_PROXY", "the same, for programs that spell it so"},
	{"HTTPS_PROXY", "the same"},
	{"NO_PROXY", "the same"},
	{"ALL_PROXY", "the same"},
}

// fixed are variables with the same value everywhere.
var fixed = []string{
	"LC_ALL=C.UTF-8",        // messages are parsed
	"NIX_USER_CONF_FILES=",  // a user's nix.conf is not part of the source
	"NIX_PATH=",             // nor are channels
	"GIT_TERMINAL_PROMPT=0", // nobody is there to answer
	"GIT_CONFIG_COUNT=0",    // injected configuration is not part of the source
	// ssh asks nobody either, and gives up a builder that does not answer, or no longer does.
	"NIX_SSHOPTS=-oBatchMode=yes -oConnectTimeout=10 -oServerAliveInterval=15 -oServerAliveCountMax=4",
}

// Environment returns what of env children get: a whitelist, and some fixed values.
func Environment(env []string) []string {
	out := slices.Clone(fixed)
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if slices.ContainsFunc(kept, func(v variable) bool { return v.name == name }) {
			out = append(out, kv)
		}
	}
	return out
}

// nowhere is a home that is not there, by the name that Debian's policy keeps free. Nix takes a home that is not there
// as it is; one that belongs to somebody else it would replace by the user's own.
const nowhere = "/nonexistent"

// NixEnvironment returns what of env Nix gets. A user's home has much that could lead Nix elsewhere: nix.conf, registry,
// trusted-settings.json, channels, .netrc and .gitconfig. So it gets none, but for the caches that were below it.
func NixEnvironment(env []string) []string {
	caches := filepath.Join(os.TempDir(), "open-sesame-ci-caches") // of one who has no home either
	out := slices.DeleteFunc(Environment(env), func(kv string) bool {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "HOME" && value != "":
			caches = filepath.Join(value, ".cache")
		case name == "XDG_CACHE_HOME" && value != "":
			return false
		}
		return name == "HOME" || name == "XDG_CACHE_HOME"
	})
	if !slices.ContainsFunc(out, func(kv string) bool { return strings.HasPrefix(kv, "XDG_CACHE_HOME=") }) {
		out = append(out, "XDG_CACHE_HOME="+caches)
	}
	return append(out, "HOME="+nowhere)
}
