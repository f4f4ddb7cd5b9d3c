package host

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// A flake is evaluated under three restrictions, since none of them is complete:
//
//   - restrict-eval keeps builtins from reading files and from fetching what allowed-uris does not name. It does not
//     apply to builtins.getFlake in any version, nor to builtins.fetchTree of a path in Nix 2.8.
//   - The environment keeps the fetchers, getFlake's too, from protocols other than HTTPS and SSH.
//   - Where this process may make namespaces, Nix finds no files but those that it needs.

// allowedURIs are what flakes need: HTTPS, SSH, and the forges, which use HTTPS. Paths in the flake need none.
const allowedURIs = "https: github: gitlab: sourcehut: git+https: git+ssh: ssh: tarball+https: file+https: hg+https: hg+ssh:"

// restrictions returns the settings for evaluation. If the machine's nix.conf restricts evaluation, it also has its own
// list of URIs.
func (m machine) restrictions() nix.Settings {
	if m.config["restrict-eval"] == "true" {
		return nil
	}
	return nix.Settings{"restrict-eval": "true", "allowed-uris": allowedURIs}
}

// evaluates reports whether a command may evaluate code of a flake. It is true for an unknown command.
func evaluates(c engine.Command) bool {
	switch c.Program {
	case "nix":
		return len(c.Args) > 0 && !slices.Contains([]string{"--version", "show-config", "config", "store", "path-info", "derivation", "show-derivation", "log"}, c.Args[0])
	case "nix-build", "nix-instantiate":
		return c.Settings["restrict-eval"] != "false" // else it is an expression of this program's own
	}
	return false
}

// noProxy is an address without a proxy, so that plain HTTP and a redirection to it fail.
const noProxy = "http://127.0.0.1:1"

// fetcherEnvironment returns the variables that restrict fetchers to HTTPS and SSH. References and substituters of the
// user may have other protocols.
func (x *Executor) fetcherEnvironment(named []string) []string {
	protocols, direct, proxy := "https:ssh", "", false
	for _, kv := range x.Env {
		name, value, _ := strings.Cut(kv, "=")
		switch strings.ToLower(name) {
		case "no_proxy":
			direct = value
		case "https_proxy", "all_proxy":
			proxy = proxy || value != ""
		}
	}
	if !proxy {
		direct = "" // HTTPS does not need it, and it would let plain HTTP pass
	}
	for _, ref := range append(strings.Fields(x.Settings["substituters"]), named...) {
		u, err := url.Parse(ref)
		if err != nil {
			continue
		}
		switch u.Scheme {
		case "http", "tarball+http", "file+http":
			direct += "," + u.Hostname()
		case "git+http":
			direct += "," + u.Hostname()
			protocols += ":http"
		case "git+file":
			protocols += ":file"
		}
	}
	direct = strings.TrimPrefix(direct, ",")
	return []string{
		"GIT_ALLOW_PROTOCOL=" + protocols, "http_proxy=" + noProxy, "ftp_proxy=" + noProxy, "no_proxy=" + direct, "NO_PROXY=" + direct,
	}
}

// overrides returns the references that a command takes from the command line.
func overrides(c engine.Command) (refs []string) {
	for i, arg := range c.Args {
		if arg == "--override-input" && i+2 < len(c.Args) {
			refs = append(refs, c.Args[i+2])
		}
	}
	return refs
}

// system are the files that Nix needs to evaluate and to fetch: programs, names, addresses and certificates.
var system = []string{
	"/nix", "/usr", "/dev", "/sys/fs/cgroup", "/run/current-system", "/run/nscd", "/run/systemd/resolve",
	"/etc/nix", "/etc/static", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/crypto-policies", "/etc/alternatives",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/os-release", "/etc/localtime",
	"/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf",
	"/etc/services", "/etc/protocols", "/etc/gitconfig",
	"/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d", "/etc/ssh/ssh_known_hosts",
}

// visible returns the paths that an isolated command sees. They have no keys for SSH, which the agent has.
func (x *Executor) visible(named []string) []string {
	paths := slices.Clone(system)
	add := func(path string) {
		if filepath.IsAbs(path) && filepath.Clean(path) != "/" {
			paths = append(paths, filepath.Clean(path))
		}
	}
	for _, kv := range x.Env {
		name, value, _ := strings.Cut(kv, "=")
		switch name {
		case "PATH":
			for _, dir := range filepath.SplitList(value) {
				add(dir)
			}
		case "NIX_REMOTE":
			_, path, _ := strings.Cut(value, "/") // local?root=/path, unix:///path, /path
			path, _, _ = strings.Cut("/"+path, "&")
			add(path)
		case "XDG_CACHE_HOME":
			cache := filepath.Join(value, "nix")
			_ = os.MkdirAll(cache, 0o755) // without it, Nix fetches again
			add(cache)
		case "NIX_STATE_DIR", "NIX_CONF_DIR", "NIX_SSL_CERT_FILE", "SSL_CERT_FILE", "SSH_AUTH_SOCK":
			add(value)
		}
	}
	add(x.machine.config["ssl-cert-file"])
	add(x.machine.config["netrc-file"])
	if me, err := user.Current(); err == nil {
		add(filepath.Join(me.HomeDir, ".ssh", "known_hosts"))
		add(filepath.Join(me.HomeDir, ".ssh", "config"))
	}
	for _, ref := range named {
		if u, err := url.Parse(ref); err == nil {
			add(u.Path)
		}
	}
	x.added.Range(func(dir, _ any) bool {
		add(dir.(string))
		return true
	})
	return paths
}

//go:embed isolate.sh
var isolateScript string

// isolated returns the command line that runs a command with the paths, and no others of this machine. No other command
// uses the directory. The command gets the process number of the outer shell, which no other process has until the end.
func isolated(c engine.Command, dir string, paths []string) []string {
	const script = `directory=$1; shift
exec unshare --mount --pid --fork --kill-child --propagation private sh -c "$0" isolate "$directory/root" "$directory/tmp" "$$" "$@"`
	args := append([]string{"sh", "-c", script, isolateScript, dir}, paths...)
	return append(append(args, "--", c.Program), c.Args...)
}

// settings returns the settings of a command. An isolated one cannot read the machine's signing keys, and signs nothing.
func (x *Executor) settings(c engine.Command) nix.Settings {
	s := x.Settings.With(c.Settings)
	if x.isolates && evaluates(c) {
		s["secret-key-files"] = ""
	}
	return s
}

// restrict restricts what a command that evaluates code of a flake reads and fetches. The returned function removes the
// files of the restriction.
func (x *Executor) restrict(cmd *exec.Cmd, c engine.Command) (cleanup func(), err error) {
	if !evaluates(c) {
		return func() {}, nil
	}
	named := overrides(c)
	cmd.Env = append(cmd.Env, x.fetcherEnvironment(named)...)
	if !x.isolates {
		return func() {}, nil
	}
	dir, err := x.makeDir("evaluation", map[string]os.FileMode{"root": 0o755, "tmp": 0o777 | os.ModeSticky})
	if err != nil {
		return nil, fmt.Errorf("make directory for evaluation: %v", err)
	}
	args := isolated(c, dir.Path, x.visible(named))
	shell, err := exec.LookPath(args[0])
	if err != nil {
		return nil, errors.Join(err, dir.Remove())
	}
	cmd.Path, cmd.Args, cmd.Err = shell, args, nil
	cmd.Env = append(cmd.Env, "TMPDIR=/tmp")
	return func() { _ = dir.Remove() }, nil
}

// evaluation returns the restriction as the manifest has it.
func (x *Executor) evaluation() string {
	if x.isolates {
		return "isolated"
	}
	return "restricted"
}

// tryIsolation reports whether a command can be isolated on this machine. It isolates one.
func (x *Executor) tryIsolation(ctx context.Context) bool {
	if os.Geteuid() != 0 {
		return false
	}
	x.isolates = true
	_, err := x.Run(ctx, engine.Command{Program: "nix", Args: []string{"eval", "--expr", "1"}})
	return err == nil
}
