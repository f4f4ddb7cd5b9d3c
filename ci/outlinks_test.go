package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

// A checkout can contain a directory OUT with links in it, or one that is a link. A run that would write there ends before it
// builds, and does not change the target of the link.
func TestLinksInOUT(t *testing.T) {
	for _, command := range []string{"release", "check", "plan"} {
		for _, name := range []string{
			"out", "out/cache", "out/cache/.incoming", "out/cache/nar", "out/sbom", "out/derivations", "out/differs", "out/logs", "out/journal",
			"out/manifest.json", "out/check.json", "out/provenance.intoto.jsonl", "out/cache/nix-cache-info",
		} {
			if command != "release" && strings.HasPrefix(name, "out/cache/") {
				continue // check does not use the cache, and plan writes nothing to it
			}
			t.Run(command+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				t.Chdir(dir)
				// A release deletes files in its directory for incoming files that are older than a day.
				writeTest(t, "home/work/letter", "precious")
				old := time.Now().Add(-48 * time.Hour)
				if err := os.Chtimes("home/work", old, old); err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(filepath.Join(dir, "home"), name); err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				code := execute(t.Context(), []string{command, "example", "--engine", "host"}, process{
					stdout: &log, stderr: &log, secrets: secrets{},
					environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + t.TempDir(), "NIX_REMOTE=local?root=" + dir + "/store"},
				})
				if code == exitOK || !strings.Contains(log.String(), "it is a symbolic link") {
					t.Errorf("exit code %d:\n%s", code, &log)
				}
				entries, err := os.ReadDir("home")
				if err != nil || len(entries) != 1 || readTest(t, "home/work/letter") != "precious" {
					t.Errorf("where the link leads to, there is %v, %v", entries, err)
				}
			})
		}
	}
}

// If a file in OUT is of the wrong kind, or cannot be written, a run ends before evaluation. Otherwise a long run would end
// without results.
func TestResultsThatCannotBeWritten(t *testing.T) {
	for name, test := range map[string]struct {
		file, out, want string
		commands        []string
	}{
		"a file for a directory":  {"sbom", "out", "out/sbom: not a directory", []string{"release", "check", "plan"}},
		"a file for the journals": {"journal", "out", "out/journal: not a directory", []string{"release"}},
		"a directory for a file":  {"manifest.json/x", "out", "out/manifest.json: is a directory", []string{"release", "check"}},
		"another one":             {"check.json/x", "out", "out/check.json: is a directory", []string{"check"}},
		"an invalid provenance":   {"provenance.intoto.jsonl", "out", "read provenance out/provenance.intoto.jsonl", []string{"release"}},
		"a directory in /proc":    {"x", "/proc/out", "mkdir /proc/out", []string{"release", "check"}},
	} {
		for _, command := range test.commands {
			t.Run(name+", "+command, func(t *testing.T) {
				dir := t.TempDir()
				t.Chdir(dir)
				writeTest(t, filepath.Join("out", test.file), "")
				var log bytes.Buffer
				code := execute(t.Context(), []string{command, "example", "--engine", "host", "--out", test.out}, process{
					stdout: &log, stderr: &log, secrets: secrets{},
					environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + t.TempDir(), "NIX_REMOTE=local?root=" + dir + "/store"},
				})
				if code == exitOK || !strings.Contains(log.String(), test.want) {
					t.Errorf("exit code %d:\n%s", code, &log)
				}
				if _, err := os.Stat("store"); err == nil {
					t.Error("Nix was started")
				}
			})
		}
	}
}

// push --resume publishes from OUT, and follows no link there.
func TestLinksInOUTAreNotResumed(t *testing.T) {
	for _, name := range []string{"out", "out/journal", "out/journal/1.json", "out/cache", "out/cache/nix-cache-info"} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			writeTest(t, "there/journal/1.json", fifoJournal)
			writeTest(t, "there/cache/nix-cache-info", fifoCacheInfo)
			if name != "out" {
				if err := os.CopyFS("out", os.DirFS("there")); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
			target, err := filepath.Abs("there" + strings.TrimPrefix(name, "out"))
			if err == nil {
				err = os.Symlink(target, name)
			}
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			code := execute(t.Context(), []string{"push", "--resume", "--unrecorded", "--cachix", "c"}, process{
				stdout: &log, stderr: &log, secrets: secrets{defaultSecret: cachixtest.TestToken},
				environ: []string{"HOME=" + t.TempDir()},
			})
			if code == exitOK || !strings.Contains(log.String(), "it is a symbolic link") {
				t.Errorf("exit code %d:\n%s", code, &log)
			}
		})
	}
}
