package main

import (
	"bytes"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestBuildInfo(t *testing.T) {
	const hash = "6d40d34c1f2e3d4c5b6a79880716253443526170"
	checkout := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: hash}, {Key: "vcs.time", Value: "2026-11-30T22:04:26+01:00"}}
	for name, test := range map[string]struct {
		module   string
		settings []debug.BuildSetting
		want     string
	}{
		"go run":                        {"", nil, sourceVersion + " (commit unknown)"},
		"go build in a checkout":        {"v0.0.0-20261130210426-6d40d34c1f2e", checkout, sourceVersion + " (commit " + hash + " of 2026-11-30 21:04:26 UTC)"},
		"go build in an older checkout": {"(devel)", checkout, sourceVersion + " (commit " + hash + " of 2026-11-30 21:04:26 UTC)"},
		"go build with changes": {
			"v0.0.0-20261130210426-6d40d34c1f2e+dirty", append(checkout, debug.BuildSetting{Key: "vcs.modified", Value: "true"}),
			sourceVersion + " (commit " + hash + " of 2026-11-30 21:04:26 UTC, with changes)",
		},
		"go build of a tag":           {"v0.3.1", checkout, "0.3.1 (commit " + hash + " of 2026-11-30 21:04:26 UTC)"},
		"go install @v0.3.1":          {"v0.3.1", nil, "0.3.1 (commit unknown)"},
		"go install @main":            {"v0.0.0-20261130210426-6d40d34c1f2e", nil, sourceVersion + " (commit 6d40d34c1f2e of 2026-11-30 21:04:26 UTC)"},
		"go install @main, after tag": {"v0.3.2-0.20261130210426-6d40d34c1f2e", nil, sourceVersion + " (commit 6d40d34c1f2e of 2026-11-30 21:04:26 UTC)"},
	} {
		t.Run(name, func(t *testing.T) {
			got := buildOf(&debug.BuildInfo{Main: debug.Module{Version: test.module}, Settings: test.settings}).String()
			if got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
}

// What flake.nix sets with the linker takes precedence over what Go records.
func TestBuildByNix(t *testing.T) {
	t.Cleanup(func() { commit, commitTime = "", "" })
	for _, test := range []struct{ commit, time, want string }{
		{"6d40d34c", "20261130210426", " (commit 6d40d34c of 2026-11-30 21:04:26 UTC)"},
		{"6d40d34c-dirty", "20261130210426", " (commit 6d40d34c-dirty of 2026-11-30 21:04:26 UTC, with changes)"},
		{"unknown", "", " (commit unknown)"},
	} {
		commit, commitTime = test.commit, test.time
		if got := thisBuild().String(); got != sourceVersion+test.want {
			t.Errorf("%s, want %s", got, sourceVersion+test.want)
		}
	}
}

func TestVersionCommand(t *testing.T) {
	line := regexp.MustCompile(`^open-sesame-ci ` + regexp.QuoteMeta(version) + ` \(commit .+\)\n`)
	for _, args := range [][]string{{"version"}, {"--version"}} {
		var stdout, stderr bytes.Buffer
		code := execute(t.Context(), args, process{stdout: &stdout, stderr: &stderr, environ: os.Environ()})
		if code != exitOK || !line.MatchString(stdout.String()) {
			t.Errorf("%q: exit code %d, output %q %q", args, code, &stdout, &stderr)
		}
		if args[0] == "version" && !strings.Contains(stdout.String(), runtime.Version()) {
			t.Errorf("%q does not name the version of Go: %q", args, &stdout)
		}
	}
}
