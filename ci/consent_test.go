package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Anyone can write a manifest or a journal. The cache that they name is used only if it is the project's, or on the command
// line.
func TestCacheInAFileNeedsConsent(t *testing.T) {
	published := func(system matrix.System, cache string) *run.Manifest {
		m := cellManifest(system)
		m.Cells[0].Publish = &run.PublishResult{Verdict: run.Published, Cache: cache}
		return m
	}
	server := cachixtest.New(cachixtest.Options{Name: "another"})
	defer server.Close()
	for name, test := range map[string]struct {
		args []string
		code int
		log  []string
	}{
		"pin":                 {[]string{"pin", "another.json"}, exitUsage, []string{"another.json names the cache another, not scopecreep-zip", "hint: if that is the cache you mean: --cachix another"}},
		"pin, other flake":    {[]string{"pin", "other.json"}, exitUsage, []string{"other.json names the cache scopecreep-zip, and its flake has none"}},
		"report, other flake": {[]string{"report", "other.json", "--system", "x86_64-linux", "--since", "none"}, exitUsage, []string{"no Cachix cache is named"}},
		"pin, one of two":     {[]string{"pin", "mixed.json"}, exitUsage, []string{"mixed.json names the cache another, not scopecreep-zip"}},
		"pin, consent":        {[]string{"pin", "another.json", "--cachix", "another"}, exitPublish, []string{"publish to another: pin"}},
		"report":              {[]string{"report", "another.json", "--system", "x86_64-linux", "--since", "none"}, exitUsage, []string{"another.json names the cache another, not scopecreep-zip", "--cachix another"}},
		"report, no pin":      {[]string{"report", "another.json", "--system", "x86_64-linux", "--since", "none", "--pin=false"}, exitOK, nil},
		"report, consent":     {[]string{"report", "another.json", "--system", "x86_64-linux", "--since", "none", "--cachix", "another"}, exitPublish, []string{"publish to another: pin"}},
		"push":                {[]string{"push", "--resume"}, exitUsage, []string{"out/journal/1.json names the cache another, not scopecreep-zip", "hint: if that is the cache you mean: --cachix another"}},
		"push, dry run":       {[]string{"push", "--resume", "--dry-run"}, exitUsage, []string{"names the cache another, not scopecreep-zip"}},
		"push, other cache":   {[]string{"push", "--resume", "--cachix", "third"}, exitUsage, []string{"names the cache another, not third"}},
	} {
		t.Run(name, func(t *testing.T) {
			server.Reset()
			j := newJob(t, pushed("refs/heads/main"))
			for file, m := range map[string]*run.Manifest{"another.json": published(matrix.X8664Linux, "another"), "mixed.json": published(matrix.X8664Linux, "scopecreep-zip"), "other.json": published(matrix.X8664Linux, "scopecreep-zip")} {
				if file != "other.json" {
					m.Source.URL = defaultProject.Flake
				}
				if file == "mixed.json" {
					m.Cells = append(m.Cells, published(matrix.AArch64Linux, "another").Cells...)
				}
				data, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				writeTest(t, file, string(data))
			}
			writeTest(t, "out/journal/1.json", `{"version": 1, "entries": [{"cache": "another", "paths": ["/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-hello"]}]}`)
			code := j.run(t, append(test.args, "--cachix-url", server.APIURL())...)
			if code != test.code {
				t.Errorf("exit code %d, want %d:\n%s", code, test.code, &j.stderr)
			}
			for _, want := range test.log {
				if !strings.Contains(j.stderr.String(), want) {
					t.Errorf("standard error is\n%swithout %q", &j.stderr, want)
				}
			}
			if requests := server.Requests(); test.code == exitUsage && len(requests) > 0 {
				t.Errorf("the server was asked: %v", requests)
			}
			// The path does not exist, so the pin fails; the test is about the cache.
			if pins := server.Count("pin"); (pins > 0) != strings.HasSuffix(name, "consent") {
				t.Errorf("%d pins", pins)
			}
		})
	}
}

// A manifest in a checkout could choose which path in the cache gets the name of a release.
func TestTrackedManifestIsNotPinned(t *testing.T) {
	server := cachixtest.New(cachixtest.Options{})
	defer server.Close()
	for name, args := range map[string][]string{
		"pin":    {"pin", "out/manifest.json"},
		"report": {"report", "out/manifest.json", "--system", "x86_64-linux", "--since", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t, pushed("refs/heads/main"))
			m := cellManifest(matrix.X8664Linux)
			m.Source.URL = defaultProject.Flake
			m.Cells[0].Publish = &run.PublishResult{Verdict: run.Published, Cache: "scopecreep-zip"}
			data, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			writeTest(t, "out/manifest.json", string(data))
			checkout := &releaser{flake: "."}
			checkout.git(t, "init", "-q")
			for _, tracked := range []bool{false, true} {
				if tracked {
					checkout.commit(t)
				}
				server.Reset()
				code := j.run(t, append(args, "--cachix-url", server.APIURL())...)
				if pins := server.Count("pin"); (pins == 0) != tracked || (code == exitUsage) != tracked {
					t.Errorf("tracked: %v, exit code %d, %d pins:\n%s", tracked, code, pins, &j.stderr)
				}
			}
			if want := "git tracks out/manifest.json"; !strings.Contains(j.stderr.String(), want) {
				t.Errorf("standard error is\n%swithout %q", &j.stderr, want)
			}
		})
	}
}
