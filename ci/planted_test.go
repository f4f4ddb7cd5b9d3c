package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// releaser is a user with a home, a store, a record, and a Cachix cache to push to.
type releaser struct {
	home, flake string
	state       string // XDG_STATE_HOME
	server      *cachixtest.Server
}

// newReleaser returns a user with a committed flake, which needs no network.
func newReleaser(t *testing.T) *releaser {
	t.Helper()
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs Nix and root: apt-get install nix-bin")
	}
	home := t.TempDir()
	t.Cleanup(func() { makeWritable(home) })
	u := &releaser{home: home, flake: filepath.Join(home, "flake"), server: cachixtest.New(cachixtest.Options{})}
	t.Cleanup(u.server.Close)
	if err := example.Write(u.flake); err != nil {
		t.Fatal(err)
	}
	u.git(t, "init", "-q")
	u.commit(t)
	return u
}

func (u *releaser) git(t *testing.T, args ...string) {
	t.Helper()
	git := exec.Command("git", args...)
	git.Dir = u.flake
	git.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=2024-01-01T00:00:00Z",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_COMMITTER_DATE=2024-01-01T00:00:00Z")
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
}

func (u *releaser) commit(t *testing.T) {
	t.Helper()
	u.git(t, "add", "-A", "-f")
	u.git(t, "commit", "-q", "-m", "all")
}

// out is a directory of results beside the flake.
func (u *releaser) out(name string) string { return filepath.Join(u.home, name) }

// run runs a command in the flake's directory, with a secret where it can push.
func (u *releaser) run(t *testing.T, command string, args ...string) (code int, log string) {
	t.Helper()
	args = append([]string{command}, args...)
	environ := append(os.Environ(), "HOME="+u.home, "XDG_CACHE_HOME="+u.home, "XDG_STATE_HOME="+u.state, "NIX_REMOTE=local?root="+filepath.Join(u.home, "store"))
	if command != "build" {
		args = append(args, "--cachix", defaultProject.Cachix, "--secret-env", defaultSecret, "--cachix-url", u.server.APIURL(), "--confirm-timeout", "0s")
		environ = append(environ, defaultSecret+"="+cachixtest.TestToken)
	}
	if command != "push" {
		args = append(args, "--system", "x86_64-linux", "--engine", "host", "--contract", "off", "--rebuild=off",
			"--substituter", "none", "--served-by", "none", "--trusted-key", "none", "--memlock", "0", "--package", "open-sesame")
	}
	ci := exec.CommandContext(t.Context(), buildCI(t), args...)
	var errs bytes.Buffer
	ci.Dir, ci.Env, ci.Stderr = u.flake, environ, &errs
	_ = ci.Run() // the exit code says it
	return ci.ProcessState.ExitCode(), errs.String()
}

// published checks that the cache has the package, and nothing that was planted.
func (u *releaser) published(t *testing.T, want bool) {
	t.Helper()
	found := false
	for path := range narInfos(u.server) {
		p := nix.StorePath(path)
		contents := new(bytes.Buffer)
		if cache, err := binarycache.OpenURL(u.server.PublicURL()); err != nil {
			t.Fatal(err)
		} else if err := cache.Dump(t.Context(), contents, p); err != nil {
			t.Error(err)
		}
		if bytes.Contains(contents.Bytes(), []byte("EVIL")) {
			t.Errorf("published the planted contents of %s", p)
		}
		found = found || strings.HasPrefix(p.Name(), "open-sesame-1")
	}
	if found != want {
		t.Errorf("published: %v, want %v", found, want)
	}
}

// honest returns the results of an honest build, and the path of the package.
func honest(t *testing.T, u *releaser) (cache *binarycache.Dir, output nix.StorePath) {
	t.Helper()
	lab := &releaser{home: t.TempDir(), flake: u.flake, server: u.server}
	t.Cleanup(func() { makeWritable(lab.home) })
	if code, log := lab.run(t, "build", ".", "--out", lab.out("out")); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, log)
	}
	cache, err := binarycache.OpenReadOnly(filepath.Join(lab.out("out"), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	infos, err := cache.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if strings.HasPrefix(info.Path.Name(), "open-sesame-1") {
			return cache, info.Path
		}
	}
	t.Fatalf("no package in %v", infos)
	return nil, ""
}

// plant makes a directory of results whose cache has other contents under the path of the package, with a matching narinfo. Its
// journal lists the path for publishing.
func plant(t *testing.T, out string, from *binarycache.Dir, output nix.StorePath) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(out, "cache"), os.DirFS(from.Name())); err != nil {
		t.Fatal(err)
	}
	evil := filepath.Join(t.TempDir(), "evil")
	writeTest(t, filepath.Join(evil, "bin", "sesame"), "#!/bin/sh\necho EVIL\n")
	var archive bytes.Buffer
	if err := nar.DumpTree(context.Background(), &archive, evil); err != nil {
		t.Fatal(err)
	}
	info, err := from.Info(output)
	if err != nil {
		t.Fatal(err)
	}
	hasher := gonix.NewHasher(gonix.SHA256)
	_, _ = hasher.Write(archive.Bytes())
	info.URL, info.Compression = "nar/evil.nar", gonix.NoCompression
	info.NARHash, info.NARSize = hasher.SumHash(), int64(archive.Len())
	info.FileHash, info.FileSize = info.NARHash, info.NARSize
	text, err := nix.FormatNARInfo(info)
	if err != nil {
		t.Fatal(err)
	}
	writeTest(t, filepath.Join(out, "cache", info.URL), archive.String())
	writeTest(t, filepath.Join(out, "cache", output.Digest()+".narinfo"), string(text))
	writeTest(t, filepath.Join(out, "journal", "1.json"),
		fmt.Sprintf(`{"version": 1, "entries": [{"cache": "scopecreep-zip", "paths": [%q]}], "pins": {"open-sesame-x86_64-linux": %[1]q}}`, output))
}

// A stranger's directory of results has other contents under the path of the package. Nothing of it is published, or counts
// as good.
func TestPlantedCacheIsNotTrusted(t *testing.T) {
	t.Parallel()
	u := newReleaser(t)
	cache, output := honest(t, u)
	for _, command := range []string{"build", "warm", "release"} {
		t.Run(command, func(t *testing.T) {
			u := &releaser{home: t.TempDir(), flake: u.flake, server: cachixtest.New(cachixtest.Options{})}
			t.Cleanup(func() { u.server.Close(); makeWritable(u.home) })
			plant(t, u.out("out"), cache, output)
			code, log := u.run(t, command, ".", "--out", u.out("out"))
			if code != exitOK || !strings.Contains(log, "1 built") || !strings.Contains(log, "no record") {
				t.Errorf("exit code %d:\n%s", code, log)
			}
			u.published(t, command != "build")
			aside, _ := filepath.Glob(filepath.Join(u.out("out"), "cache", ".damaged", "*", output.Digest()+".narinfo"))
			if len(aside) != 1 {
				t.Errorf("set aside: %q", aside)
			}
			// The cache in OUT now has what was built.
			if code, log := u.run(t, command, ".", "--out", u.out("out")); code != exitOK || strings.Contains(log, "probe") {
				t.Errorf("the second time: exit code %d:\n%s", code, log)
			}
		})
	}
	for _, args := range [][]string{{"--from", "cache"}, {"--resume"}} {
		t.Run("push "+args[0], func(t *testing.T) {
			u := &releaser{home: t.TempDir(), flake: u.flake, server: cachixtest.New(cachixtest.Options{})}
			t.Cleanup(u.server.Close)
			plant(t, u.out("out"), cache, output)
			args := append(slices.Clone(args), "--out", u.out("out"))
			if args[0] == "--from" {
				args[1] = filepath.Join(u.out("out"), args[1])
			}
			code, log := u.run(t, "push", args...)
			if code == exitOK || !strings.Contains(log, "--unrecorded") {
				t.Errorf("exit code %d:\n%s", code, log)
			}
			u.published(t, false)
			if pins := u.server.Count("pin"); pins > 0 {
				t.Errorf("%d pins", pins)
			}
		})
	}
}

// The same directory, committed with the flake, is refused.
func TestTrackedOutIsRefused(t *testing.T) {
	t.Parallel()
	u := newReleaser(t)
	cache, output := honest(t, u)
	plant(t, filepath.Join(u.flake, "out"), cache, output)
	u.commit(t)
	for _, command := range []string{"build", "warm", "release", "push"} {
		args := []string{"."}
		if command == "push" {
			args = []string{"--resume"}
		}
		code, log := u.run(t, command, args...)
		if code == exitOK || !strings.Contains(log, "git tracks out/") || !strings.Contains(log, "--out DIR") {
			t.Errorf("%s: exit code %d:\n%s", command, code, log)
		}
	}
	u.published(t, false)
}
