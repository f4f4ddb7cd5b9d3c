package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// TestConflictWithThePublicCache builds a package that differs on two machines. The first publishes it. On the second, a
// release and a push are refused, and print the differences.
func TestConflictWithThePublicCache(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs Nix and root: apt-get install nix-bin")
	}
	dir := t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	flake := filepath.Join(dir, "flake")
	if err := example.WriteFixture(flake, "unreproducible"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "fixture"}} {
		git := exec.Command("git", args...)
		git.Dir = flake
		git.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=2024-01-01T00:00:00Z",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_COMMITTER_DATE=2024-01-01T00:00:00Z")
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	server := cachixtest.New(cachixtest.Options{})
	defer server.Close()
	machine := func(name string, args ...string) (code int, log string) {
		home := filepath.Join(dir, name)
		var out, errs bytes.Buffer
		args = append(slices.Clone(args), "--out", filepath.Join(home, "out"), "--cachix", defaultProject.Cachix, "--secret-env", defaultSecret, "--cachix-url", server.APIURL())
		code = execute(t.Context(), args, process{
			stdout: &out, stderr: &errs,
			environ: append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home, "NIX_REMOTE=local?root="+filepath.Join(home, "store")),
			secrets: secrets{defaultSecret: cachixtest.TestToken},
		})
		return code, errs.String()
	}
	release := []string{
		"release", flake, "--system", "x86_64-linux", "--engine", "host", "--contract", "off", "--rebuild=off",
		"--substituter", "none", "--served-by", "none", "--trusted-key", "none", "--memlock", "0",
	}
	if code, log := machine("first", release...); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, log)
	}
	published := narInfos(server)
	if len(published) < 2 {
		t.Fatalf("published %q", published)
	}

	code, log := machine("second", release...)
	if code != exitDifferent {
		t.Fatalf("exit code %d:\n%s", code, log)
	}
	for _, want := range []string{
		" has other contents: /nix/store/", "open-sesame-desktop-1.14.2 is sha256-",
		": share/build-id: 47 bytes; first at 0x", "likely random id",
		"hint: nothing was overwritten", "hint: both results of open-sesame-desktop-1.14.2 are kept: go run ./ci compare ",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	conflicts := conflictsOf(t, filepath.Join(dir, "second/out/manifest.json"))
	if len(conflicts) != 1 || len(conflicts[0].Kept) != 2 {
		t.Fatalf("conflicts %+v", conflicts)
	}
	report, err := runCompare(t.Context(), conflicts[0].Kept[0], conflicts[0].Kept[1])
	if err != nil || len(report.Outputs[0].Differences) != 1 || report.Outputs[0].Differences[0].Causes[0] != compare.RandomID {
		t.Errorf("comparing what was kept: %+v, %v", report, err)
	}

	// A push by hand is refused too, and push --resume has nothing to resume.
	code, log = machine("second", "push", "--from", filepath.Join(dir, "second/out/cache"))
	if code != exitDifferent || !strings.Contains(log, "has other contents: ") {
		t.Errorf("push: exit code %d:\n%s", code, log)
	}
	if code, log = machine("second", "push", "--resume"); code != exitOK || !strings.Contains(log, "nothing to resume") {
		t.Errorf("push --resume: exit code %d:\n%s", code, log)
	}
	// If a killed run left a journal, it is tried once, and no hint says to try again.
	entry := publish.JournalEntry{Cache: "scopecreep-zip", Paths: []nix.StorePath{conflicts[0].Path}}
	if err := publish.NewJournal(regular.NewDir(filepath.Join(dir, "second/out")), "killed", nil).Add(entry); err != nil {
		t.Fatal(err)
	}
	code, log = machine("second", "push", "--resume", "--unrecorded")
	if code != exitDifferent || !strings.Contains(log, "has other contents: ") || strings.Contains(log, "run the command again") {
		t.Errorf("push --resume: exit code %d:\n%s", code, log)
	}
	if left, err := publish.OpenJournals(regular.NewDir(filepath.Join(dir, "second/out")), nil); len(left) > 0 || err != nil {
		t.Errorf("%d journals are left, error %v", len(left), err)
	}
	if after := narInfos(server); len(after) != len(published) || after[string(conflicts[0].Path)] != published[string(conflicts[0].Path)] {
		t.Errorf("the cache has changed:\n%s\n%s", published, after)
	}
	if problems := server.Problems(); len(problems) > 0 {
		t.Errorf("requests that the server minds: %q", problems)
	}
}

// narInfos returns the narinfo files of a server, by store path.
func narInfos(server *cachixtest.Server) map[string]string {
	all := map[string]string{}
	for _, path := range server.Paths() {
		text, _ := server.NARInfo(strings.TrimPrefix(path, "/nix/store/")[:32])
		all[path] = text
	}
	return all
}

func conflictsOf(t *testing.T, file string) []run.Conflict {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var m run.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m.Cells[0].Publish.Conflicts
}
