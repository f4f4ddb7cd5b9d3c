package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/sbom"
)

// TestVerifyRun verifies the outputs of a run in its cache, on the web, and in the store of the Nix that built them.
func TestVerifyRun(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs Nix and root: apt-get install nix-bin")
	}
	dir := t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	environ := append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir, "NIX_REMOTE=local?root="+filepath.Join(dir, "store"))
	ci := func(args ...string) (code int, stdout, stderr string) {
		var out, log bytes.Buffer
		code = execute(t.Context(), args, process{stdout: &out, stderr: &log, environ: environ})
		return code, out.String(), log.String()
	}
	out := filepath.Join(dir, "out")
	if code, _, log := ci("release", "example", "--engine", "host", "--system", "x86_64-linux", "--out", out); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, log)
	}
	cacheDir := filepath.Join(out, "cache")
	cache, err := binarycache.OpenReadOnly(cacheDir)
	if err != nil {
		t.Fatal(err)
	}
	m := readManifest(t, filepath.Join(out, "manifest.json"))
	public, key := newKeyOfNix(t, dir)
	file := attest(t, out, m, cache, key)
	server := httptest.NewServer(http.FileServer(http.Dir(cacheDir)))
	defer server.Close()

	for name, args := range map[string][]string{
		"beside": {}, "beside, deep": {"--deep"},
		"directory": {"--cache", cacheDir}, "file": {"--cache", "file://" + cacheDir},
		"web": {"--cache", server.URL}, "web, deep": {"--cache", server.URL, "--deep"},
		"store": {"--store"}, "store, deep": {"--store", "--deep"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := ci(append([]string{"verify", file, "--key", public}, args...)...)
			if code != exitOK || strings.Count(stdout, "\n  ok  ") != 2 || !strings.Contains(stdout, "signed by release-1\n") {
				t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
			}
		})
	}

	// One output is removed, and the NAR of another is changed.
	first, second := m.Cells[0].Packages[0].Outputs[0].Path, m.Cells[0].Packages[1].Outputs[0].Path
	info, err := cache.Info(second)
	if err != nil {
		t.Fatal(err)
	}
	third, err := cache.Info(first)
	if err != nil {
		t.Fatal(err)
	}
	nar, err := os.ReadFile(filepath.Join(cacheDir, third.URL))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cacheDir, info.URL), nar, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(cacheDir, first.Digest()+".narinfo")); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := ci("verify", file, "--deep", "--json")
	var v verification
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		t.Fatalf("%v:\n%s%s", err, stdout, stderr)
	}
	var verdicts []provenance.Verdict
	for _, o := range v.Statements[0].Outputs {
		verdicts = append(verdicts, o.Verdict)
	}
	if want := []provenance.Verdict{provenance.Absent, provenance.Differs}; code != exitFailed || v.Good || !slices.Equal(verdicts, want) {
		t.Errorf("exit code %d, verdicts %q, want %q:\n%s%s", code, verdicts, want, stdout, stderr)
	}
	if !strings.Contains(stderr, "2 of 2 outputs are not found as stated in "+cacheDir) {
		t.Errorf("error:\n%s", stderr)
	}

	// A file in the store is changed without Nix.
	code, stdout, _ = ci("verify", file, "--store", "--deep")
	if code != exitOK {
		t.Fatalf("the store differs before it was changed:\n%s", stdout)
	}
	object := filepath.Join(dir, "store", string(second))
	makeWritable(object)
	if err := os.WriteFile(filepath.Join(object, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ = ci("verify", file, "--store", "--deep")
	if code != exitFailed || !strings.Contains(stdout, "differs  "+string(second)) {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
}

func readManifest(t *testing.T, file string) *run.Manifest {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := new(run.Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// newKeyOfNix makes a signing key with Nix.
func newKeyOfNix(t *testing.T, dir string) (public string, secret *provenance.SecretKey) {
	t.Helper()
	secretFile, publicFile := filepath.Join(dir, "secret"), filepath.Join(dir, "public")
	cmd := exec.Command("nix-store", "--generate-binary-cache-key", "release-1", secretFile, publicFile)
	cmd.Env = append(os.Environ(), "NIX_REMOTE=local?root="+filepath.Join(dir, "store"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(secretFile)
	if err != nil {
		t.Fatal(err)
	}
	if secret, err = provenance.ParseSecretKey(text); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(publicFile)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data)), secret
}

// attest writes bills of materials and a signed provenance that names them.
func attest(t *testing.T, out string, m *run.Manifest, cache *binarycache.Dir, key *provenance.SecretKey) string {
	t.Helper()
	names, err := sbom.Write(t.Context(), regular.NewDir(out), m, cache)
	if err != nil || len(names) != 2 {
		t.Fatalf("bills of materials %q, error %v", names, err)
	}
	var facts provenance.Facts
	for _, name := range names {
		f, err := provenance.HashFile(t.Context(), regular.NewDir(out), name, sbom.MediaType)
		if err != nil {
			t.Fatal(err)
		}
		facts.Byproducts = append(facts.Byproducts, f)
	}
	file, err := provenance.Write(t.Context(), regular.NewDir(out), m, facts, key)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestVerifyGitHub verifies an attestation of GitHub against a cache that has one of its three outputs, and another object
// instead of the second.
func TestVerifyGitHub(t *testing.T) {
	t.Parallel()
	fixture := func(name string) string { return filepath.Join("..", "internal", "provenance", "testdata", name) }
	cache := t.TempDir()
	for name, text := range map[string]string{
		"nix-cache-info": "StoreDir: /nix/store\n",
		"00000000000000000000000000000001.narinfo": narinfoOf("00000000000000000000000000000001-a", "0"),
		"00000000000000000000000000000002.narinfo": narinfoOf("00000000000000000000000000000002-b", "1"),
	} {
		if err := os.WriteFile(filepath.Join(cache, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	forged := filepath.Join(cache, "forged.jsonl")
	data, err := os.ReadFile(fixture("github.jsonl"))
	if err == nil {
		err = os.WriteFile(forged, bytes.Replace(data, []byte(`fQo="`), []byte(`fQog"`), 1), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(cache, "ours.jsonl")
	if data, err = os.ReadFile(fixture("github-statement.json")); err == nil {
		err = os.WriteFile(ours, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	root, repo := "--trusted-root="+fixture("trusted_root.jsonl"), "--repo=owner/name"
	workflow := "--signer-workflow=signer/repo/.github/workflows/attest.yml"
	for name, test := range map[string]struct {
		file string
		args []string
		code int
		want string
	}{
		"good":                {fixture("github.jsonl"), []string{root, repo, workflow}, exitFailed, "2 of 3 outputs are not found as stated"},
		"no trust":            {fixture("github.jsonl"), nil, exitFailed, "hint: gh attestation trusted-root >trusted_root.jsonl, then add --trusted-root"},
		"no root":             {fixture("github.jsonl"), []string{repo}, exitUsage, "hint: gh attestation trusted-root"},
		"no repository":       {fixture("github.jsonl"), []string{root, workflow}, exitUsage, "need --repo OWNER/NAME"},
		"another repository":  {fixture("github.jsonl"), []string{root, "--repo=owner/other", workflow}, exitFailed, "SourceRepositoryURI"},
		"another workflow":    {fixture("github.jsonl"), []string{root, repo}, exitFailed, "expected SAN"},
		"not a repository":    {fixture("github.jsonl"), []string{root, "--repo=owner"}, exitUsage, "not of the form OWNER/NAME"},
		"a root that is none": {fixture("github.jsonl"), []string{"--trusted-root=" + fixture("manifest.json"), repo}, exitFailed, "read trusted root"},
		"forged":              {forged, []string{root, repo, workflow}, exitFailed, "payload hash"},
		"our statement":       {ours, []string{root, repo, workflow}, exitFailed, "a statement without a bundle"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, log bytes.Buffer
			args := append([]string{"verify", test.file, "--cache", cache}, test.args...)
			code := execute(t.Context(), args, process{stdout: &out, stderr: &log})
			if code != test.code || !strings.Contains(log.String(), test.want) || (out.Len() > 0) != (name == "good") {
				t.Fatalf("exit code %d:\n%s%s", code, &out, &log)
			}
			for _, line := range []string{"signed by https://github.com/signer/repo/.github/workflows/attest.yml@refs/heads/main, for https://github.com/owner/name@c0ffee", "  ok         /nix/store/0", "  differs    /nix/store/0", "  not there  /nix/store/0"} {
				if name == "good" && !strings.Contains(out.String(), line) {
					t.Errorf("no %q in:\n%s", line, &out)
				}
			}
		})
	}
}

func narinfoOf(name, digit string) string {
	return "StorePath: /nix/store/" + name + "\nURL: nar/a.nar\nCompression: none\nNarHash: sha256:" + strings.Repeat(digit, 52) + "\nNarSize: 1\nReferences: \n"
}
