package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	fifoCacheInfo = "StoreDir: /nix/store\n"
	fifoOutput    = "/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-hello"
	fifoNARInfo   = "StorePath: " + fifoOutput + "\nURL: nar/x.nar\nCompression: none\n" +
		"NarHash: sha256:0000000000000000000000000000000000000000000000000000\nNarSize: 1\nReferences: \n"
	fifoStatement = `{"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
		"subject": [{"name": "lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-hello", "digest": {"sha256": "0000000000000000000000000000000000000000000000000000000000000000"}}],
		"predicate": {"buildDefinition": {"buildType": "https://example.org", "externalParameters": {"x": "y"}}, "runDetails": {"builder": {"id": "https://example.org"}}}}`
	fifoJournal = `{"version": 1, "entries": [{"cache": "c", "paths": ["` + fifoOutput + `"]}]}`
)

// notAFile has the messages for a pipe: as a file, in a compared tree, in a flake, and as a directory.
var notAFile = []string{"not a regular file", "cannot be in a NAR", "is neither file, directory nor symbolic link", "neither a file nor a directory", "not a directory"}

// Opening a named pipe waits for a writer, and no signal ends the wait. A pipe instead of any file that a run reads is an
// immediate error.
func TestNamedPipes(t *testing.T) {
	narinfo := "cache/" + strings.TrimPrefix(fifoOutput, "/nix/store/")[:32] + ".narinfo"
	for name, test := range map[string]struct {
		pipe  string
		files map[string]string // beside it
		args  []string
	}{
		"verify":                {"p", nil, []string{"verify", "p"}},
		"verify, trusted root":  {"p", map[string]string{"b": fifoStatement}, []string{"verify", "b", "--repo", "o/n", "--trusted-root", "p"}},
		"verify, cache info":    {"cache/nix-cache-info", map[string]string{"p": fifoStatement}, []string{"verify", "p"}},
		"verify, narinfo":       {narinfo, map[string]string{"p": fifoStatement, "cache/nix-cache-info": fifoCacheInfo}, []string{"verify", "p"}},
		"verify, NAR":           {"cache/nar/x.nar", map[string]string{"p": fifoStatement, "cache/nix-cache-info": fifoCacheInfo, narinfo: fifoNARInfo}, []string{"verify", "p", "--deep"}},
		"compare":               {"p", map[string]string{"b": ""}, []string{"compare", "p", "b"}},
		"compare, NAR":          {"p.nar", map[string]string{"b": ""}, []string{"compare", "p.nar", "b"}},
		"compare, in tree":      {"a/p", map[string]string{"b/p": ""}, []string{"compare", "a", "b"}},
		"compare, manifest":     {"a/manifest.json", map[string]string{"b": ""}, []string{"compare", "a", "b"}},
		"compare, cache info":   {"cache/nix-cache-info", map[string]string{"b": ""}, []string{"compare", "cache", "b"}},
		"compare, narinfo":      {narinfo, map[string]string{"cache/nix-cache-info": fifoCacheInfo, "b": ""}, []string{"compare", "cache", "b"}},
		"compare, NAR in cache": {"cache/nar/x.nar", map[string]string{"cache/nix-cache-info": fifoCacheInfo, narinfo: fifoNARInfo, "b": ""}, []string{"compare", "cache", "b"}},
		"report":                {"p", nil, []string{"report", "p"}},
		"reproduce":             {"p", nil, []string{"reproduce", "p"}},
		"pin":                   {"p", nil, []string{"pin", "p", "--cachix", "c"}},
		"push, journal":         {"out/journal/1.json", nil, []string{"push", "--resume"}},
		"push, cache info": {
			"out/cache/nix-cache-info", map[string]string{"out/journal/1.json": fifoJournal}, []string{"push", "--resume", "--unrecorded", "--cachix", "c"},
		},
		"push, narinfo": {
			"out/" + narinfo,
			map[string]string{"out/journal/1.json": fifoJournal, "out/cache/nix-cache-info": fifoCacheInfo},
			[]string{"push", "--resume", "--unrecorded", "--cachix", "c"},
		},
		"push --from": {"cache/nix-cache-info", nil, []string{"push", "--from", "cache", "--cachix", "c"}},
		"contract":    {"p", nil, []string{"check", "example", "--contract-file", "p", "--engine", "host"}},
		"key":         {"p", nil, []string{"release", "example", "--provenance-key", "p", "--engine", "host"}},
		"since":       {"p", nil, []string{"release", "example", "--since", "p", "--engine", "host"}},
		"init":        {"flake/flake.nix", nil, []string{"init", "./flake", "--engine", "host"}},
		"settings":    {"flake/nix-release.toml", map[string]string{"flake/flake.nix": "{ outputs = _: { }; }"}, []string{"init", "./flake", "--engine", "host"}},
		"lock":        {"flake/flake.lock", map[string]string{"flake/flake.nix": "{ outputs = _: { }; }"}, []string{"plan", "./flake", "--engine", "host"}},
		"fix":         {"flake/Cargo.lock", map[string]string{"flake/flake.nix": "{ outputs = _: { }; }"}, []string{"check", "./flake", "--fix", "--engine", "host"}},
		"flake":       {"flake", nil, []string{"plan", "./flake", "--engine", "host"}},
		"tarball":     {"p.tar", nil, []string{"plan", "tarball+file://$DIR/p.tar", "--engine", "host"}},
		"builders":    {"p", nil, []string{"plan", "example", "--builders", "@$DIR/p", "--engine", "host"}},
		"image":       {"p.tar", nil, []string{"plan", "example", "--image", "./p.tar", "--engine", "dagger"}},
		"OUT":         {"out", nil, []string{"release", "example", "--engine", "host"}},
		"OUT, cache":  {"out/cache/nix-cache-info", nil, []string{"release", "example", "--engine", "host"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			for file, text := range test.files {
				writeTest(t, file, text)
			}
			if err := os.MkdirAll(filepath.Dir(test.pipe), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(test.pipe, 0o644); err != nil {
				t.Fatal(err)
			}
			for i, arg := range test.args {
				test.args[i] = strings.ReplaceAll(arg, "$DIR", dir)
			}
			var log bytes.Buffer
			done := make(chan int, 1)
			go func() {
				done <- execute(t.Context(), test.args, process{
					stdout: &log, stderr: &log, secrets: secrets{defaultSecret: cachixtest.TestToken},
					environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir(), "NIX_REMOTE=local?root=" + dir + "/store"},
				})
			}()
			select {
			case code := <-done:
				if code == exitOK || !slices.ContainsFunc(notAFile, func(text string) bool { return strings.Contains(log.String(), text) }) {
					t.Errorf("exit code %d:\n%s", code, &log)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it waits for the pipe")
			}
		})
	}
}

// If the log of a failed package is a named pipe, the report leaves it out.
func TestReportOfALogThatIsAPipe(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	m := failedCell(cellManifest(matrix.X8664Linux))
	if err := os.MkdirAll("cells/x86_64-linux/logs/1/x86_64-linux", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo("cells/x86_64-linux/logs/1/x86_64-linux/hello.log", 0o644); err != nil {
		t.Fatal(err)
	}
	file, done := leave(t, m), make(chan int, 1)
	go func() { done <- j.run(t, "report", file, "--system", "x86_64-linux", "--since", "none") }()
	select {
	case code := <-done:
		if summary := readTest(t, j.summary); code != exitFailed || !strings.Contains(summary, "builder failed") {
			t.Errorf("exit code %d, and the summary is\n%s", code, summary)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for the pipe")
	}
}
