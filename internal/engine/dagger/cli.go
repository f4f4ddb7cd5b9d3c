package dagger

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"

	"dagger.io/dagger/engineconn"
	"github.com/adrg/xdg"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

const downloadHost = "dl.dagger.io"

// findCLI returns the path of the Dagger client. It downloads the client if there is none.
func findCLI(ctx context.Context, o Options) (string, error) {
	path, err := lookCLI(ctx, o.Env)
	if path != "" || err != nil {
		return path, err
	}
	limit := o.limits.provision
	defer o.noticeLong(atMost("downloading the Dagger client", limit))()
	download, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// The SDK verifies the checksum. It does not remove clients of other versions, which other projects may need.
	path, err = engineconn.CLIDownloader{Ref: engineconn.CLIVersion, Release: true}.Download(download)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return path, hint.Wrap(err, "%s", withoutDownload)
}

const withoutDownload = "where " + downloadHost + " cannot be reached, install the Dagger client " + engineVersion +
	" on PATH, or set " + cliVariable + " to it"

// lookCLI returns the path of a client on this machine; empty if there is none and it can be downloaded.
func lookCLI(ctx context.Context, env []string) (string, error) {
	if bin, ok := child.Lookup(env, cliVariable); ok {
		return namedCLI(env, bin)
	}
	// The SDK keeps it there, by its own reading of the environment.
	if path, err := exec.LookPath(filepath.Join(xdg.CacheHome, "dagger", "dagger-"+engineconn.CLIVersion)); err == nil {
		return path, nil
	}
	if path, ok := lookPath(env, "dagger"); ok && isRelease(ctx, env, path) {
		return path, nil
	}
	for _, proxy := range []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		if value, _ := child.Lookup(env, proxy); value != "" {
			return "", nil // a proxy may reach hosts that this machine cannot
		}
	}
	if err := dial(ctx, "tcp", net.JoinHostPort(downloadHost, "443")); err != nil {
		return "", hint.Wrap(fmt.Errorf("find the Dagger client: none of %s on this machine, and it cannot be downloaded: %v", engineVersion, err),
			"%s", withoutDownload)
	}
	return "", nil
}

func namedCLI(env []string, bin string) (string, error) {
	path := bin
	if rest, ok := strings.CutPrefix(bin, "~/"); ok {
		home, _ := child.Lookup(env, "HOME")
		path = filepath.Join(home, rest)
	}
	if !strings.Contains(path, "/") && path != "" {
		path, _ = lookPath(env, path)
	}
	if found, err := exec.LookPath(path); err == nil && path != "" {
		return found, nil
	}
	return "", hint.Wrap(fmt.Errorf("use Dagger client %q of %s: not an executable file", bin, cliVariable), "correct or unset %s", cliVariable)
}

// isRelease reports whether the client has the engine's version: "dagger v0.21.8 (…) linux/amd64". Another version may not
// understand the queries of the SDK.
func isRelease(ctx context.Context, env []string, path string) bool {
	out, err := askRuntime(ctx, env, path, []string{"version"})
	return err == nil && strings.HasPrefix(lastLine(out), "dagger "+engineVersion+" ")
}
