package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
)

// formsOf returns the ways in which a secret could be written down.
func formsOf(secret string) map[string]string {
	lineless := base64.StdEncoding.EncodeToString([]byte(secret))
	return map[string]string{
		"plain": secret, "base64": strings.TrimRight(lineless, "=")[:len(lineless)-4], "hex": hex.EncodeToString([]byte(secret)),
		"upper-case hex": strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"URL-encoded":    url.QueryEscape(secret), "path-encoded": url.PathEscape(secret),
	}
}

// wantNone fails for each form of each secret in a text.
func wantNone(t *testing.T, where string, text []byte, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		for form, written := range formsOf(secret) {
			if bytes.Contains(text, []byte(written)) {
				t.Errorf("%s has the secret in it, %s", where, form)
			}
		}
	}
}

// buildCI builds the command for a test that needs a process.
func buildCI(t testing.TB) string {
	t.Helper()
	file, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var buildOnce = sync.OnceValues(func() (file string, err error) {
	file = filepath.Join(sharedDir, "ci")
	build := exec.Command("go", "build", "-o", file, ".")
	build.Dir = filepath.Dir(testdata)                   // the test of a job changed the directory
	build.Env = append(build.Environ(), "CGO_ENABLED=0") // as the package builds it: a sandbox has no C library
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return file, nil
})

// A secret is, in any form, in no file or output of a run, and in no argument or environment of a child process. The runs are
// one that succeeds, one whose build fails, one that is refused, and a push and a pin by hand.
func TestSecretIsNowhere(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs Nix and root: apt-get install nix-bin")
	}
	system, err := setup.NativeSystem()
	if err != nil {
		t.Fatal(err)
	}
	const token, password = "token/with+all=kinds.of-characters", "password-of-a-substituter"
	key, public, err := newSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	server := cachixtest.New(cachixtest.Options{Token: token, SelfSigned: public})
	defer server.Close()
	dir := t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	started := recordChildren(t, dir)
	ci := buildCI(t)
	for _, fixture := range []string{"failing-check", "flake"} {
		write := func(to string) error { return example.WriteFixture(to, fixture) }
		if fixture == "flake" {
			write = example.Write
		}
		if err := write(filepath.Join(dir, fixture)); err != nil {
			t.Fatal(err)
		}
	}
	run := func(wantCode int, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), ci, args...)
		cmd.Dir = dir
		cmd.Env = []string{
			"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"), "LANG=C.UTF-8",
			"NIX_REMOTE=local?root=" + filepath.Join(dir, "store"),
			defaultSecret + "=" + key + "\n", tokenVariable + "=" + token,
		}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != wantCode {
			t.Errorf("%q exits with %d, want %d:\n%s", args, code, wantCode, out)
		}
		wantNone(t, "the output of "+strings.Join(args, " "), out, token, key, password)
	}
	cell := []string{"--engine", "host", "--system", string(system), "--served-by", "none", "--cachix-url", server.APIURL()}
	release := func(args ...string) []string { return append(append([]string{"release"}, args...), cell...) }
	run(0, release("example", "--out", "good", "--json", "-v")...)
	run(1, release("./failing-check", "--contract", "off", "--cachix", defaultProject.Cachix, "--secret-env", defaultSecret, "--out", "failed", "--memlock", "0",
		"--substituter", "file://user:"+password+"@localhost/nowhere", "--trusted-key", public)...)
	run(5, release("example", "--out", "refused", "--cachix", "another")...)
	run(0, "pin", "good/manifest.json", "--cachix-url", server.APIURL())
	run(0, "push", "--from", "good/cache", "--cachix-url", server.APIURL())
	server.Misbehave(cachixtest.Fault{Status: 400, Body: `{"error": "` + token + `"}`})
	run(5, "push", "--from", "failed/cache", "--cachix-url", server.APIURL())

	if n := bytes.Count(started(), []byte("ARGV ")); n < 20 {
		t.Errorf("only %d children were seen", n)
	}
	wantNone(t, "a child", started(), token, key)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		wantNone(t, path, data, token, key)
		if strings.HasPrefix(path, filepath.Join(dir, "failed")) { // its flake has the password, and its results must not
			wantNone(t, path, data, password)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// recordChildren puts programs into DIR/bin that record their arguments and environment, and then execute the program of the
// same name.
func recordChildren(t *testing.T, dir string) (seen func() []byte) {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	log := filepath.Join(bin, "children") // where evaluation sees it too
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nix", "nix-store", "nix-build", "nix-instantiate", "git"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		script := "#!/bin/sh\n{ echo \"ARGV $0 $*\"; cat /proc/$$/environ; echo; cat /proc/$PPID/environ; echo; cat /proc/$PPID/cmdline; echo; } >>" +
			log + "\nexec " + real + " \"$@\"\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return func() []byte {
		data, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
}

// /proc shows no secret in the environment of the process.
func TestSecretLeavesTheEnvironment(t *testing.T) {
	t.Parallel()
	const secret = "a-secret-token-that-is-long-enough-to-be-one"
	server := cachixtest.New(cachixtest.Options{Token: secret})
	defer server.Close()
	server.Misbehave(cachixtest.Fault{Stall: -1}) // so that the process waits
	cmd := exec.CommandContext(t.Context(), buildCI(t), "pin", "name", "/nix/store/00000000000000000000000000000000-x",
		"--cachix-url", server.APIURL(), "--secret-env", "ANOTHER_NAME")
	cmd.Env = []string{"FIRST=1", defaultSecret + "=" + secret, tokenVariable + "=" + secret, "ANOTHER_NAME=" + secret, "LAST=1"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for server.Count("pin") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid))
	if err != nil {
		t.Skipf("needs /proc, and the right to trace all processes: %v", err)
	}
	wantNone(t, "its environment", environ, secret)
	if !bytes.Contains(environ, []byte("FIRST=1")) || !bytes.Contains(environ, []byte("LAST=1")) {
		t.Errorf("the rest of the environment is gone too: %q", environ)
	}
}

// Another process of the same user can read neither the environment nor the memory of a process with a secret.
func TestSameUserCannotReadTheProcess(t *testing.T) {
	t.Parallel()
	ci := buildCI(t)
	var user *syscall.SysProcAttr
	if os.Geteuid() == 0 { // root can trace every process
		user = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		for dir := filepath.Dir(ci); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	const secret = "a-secret-token-that-is-long-enough-to-be-one"
	server := cachixtest.New(cachixtest.Options{Token: secret})
	defer server.Close()
	server.Misbehave(cachixtest.Fault{Stall: -1}) // so that the process waits
	start := func(name string, args ...string) int {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env, cmd.SysProcAttr, cmd.Dir = []string{defaultSecret + "=" + secret}, user, "/"
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	read := func(pid int, file string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "head", "-c", "1", fmt.Sprintf("/proc/%d/%s", pid, file))
		cmd.SysProcAttr = user
		return cmd.CombinedOutput()
	}
	other := start("sleep", "60")
	if out, err := read(other, "environ"); err != nil {
		t.Skipf("no process of this user can be read here: %v\n%s", err, out)
	}
	pid := start(ci, "pin", "name", "/nix/store/00000000000000000000000000000000-x", "--cachix-url", server.APIURL())
	for server.Count("pin") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	for _, file := range []string{"environ", "mem", "maps", "auxv"} {
		if out, err := read(pid, file); err == nil || !strings.Contains(string(out), "Permission denied") {
			t.Errorf("read %s: %v\n%s", file, err, out)
		}
	}
	if environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil { // by root
		wantNone(t, "its environment", environ, secret)
	}
}

// newSigningKey returns a key as Cachix writes it, and its public half for narinfo files.
func newSigningKey() (secret, public string, err error) {
	half, key, err := ed25519.GenerateKey(nil)
	return base64.StdEncoding.EncodeToString(key), "scopecreep-zip.cachix.org-1:" + base64.StdEncoding.EncodeToString(half), err
}
