package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// narOf returns the files with the NAR and the narinfo of a path in a directory of results.
func narOf(t *testing.T, out string, path nix.StorePath) (nar, narinfo string) {
	t.Helper()
	narinfo = filepath.Join(out, "cache", path.Digest()+".narinfo")
	info, err := nix.ParseNARInfo([]byte(readTest(t, narinfo)))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(out, "cache", info.URL), narinfo
}

// Damaged objects in the directory of results are neither served nor published: they are built or exported again.
func TestDamagedResultsAreReplaced(t *testing.T) {
	t.Parallel()
	u := newReleaser(t)
	_, output := honest(t, u)
	out := u.out("out")
	flip := func(s string) string { return s[:40] + string(s[40]&63+1) + s[41:] }
	for i, damage := range []struct {
		name   string
		change func(nar, narinfo string)
		want   string
	}{
		{"a byte", func(nar, _ string) { writeTest(t, nar, flip(readTest(t, nar))) }, "the hash of its file is"},
		{"cut", func(nar, _ string) { writeTest(t, nar, readTest(t, nar)[:40]) }, "its file has 40 bytes"},
		{"gone", func(nar, _ string) { os.Remove(nar) }, "no such file"},
		{"narinfo cut", func(_, narinfo string) {
			text, _, _ := strings.Cut(readTest(t, narinfo), "References:")
			writeTest(t, narinfo, text)
		}, "no field References"},
	} {
		command := []string{"build", "warm", "release", "release"}[i]
		if i == 0 {
			if code, log := u.run(t, "build", ".", "--out", out); code != exitOK {
				t.Fatalf("exit code %d:\n%s", code, log)
			}
		}
		damage.change(narOf(t, out, output))
		code, log := u.run(t, command, ".", "--out", out)
		if code != exitOK || !strings.Contains(log, damage.want) {
			t.Errorf("%s, %s: exit code %d:\n%s", damage.name, command, code, log)
		}
		if code, log := u.run(t, command, ".", "--out", out); code != exitOK || strings.Contains(log, "not believed") {
			t.Errorf("%s, %s again: exit code %d:\n%s", damage.name, command, code, log)
		}
	}
	u.published(t, true)
	damage := func() {
		nar, _ := narOf(t, out, output)
		writeTest(t, nar, flip(readTest(t, nar)))
	}
	damage()
	if code, log := u.run(t, "push", "--from", filepath.Join(out, "cache")); code != exitFailed || !strings.Contains(log, "the hash of its file is") {
		t.Errorf("push: exit code %d:\n%s", code, log)
	}
}

// Without the record, results are compared with Nix's store. With another store, everything is built again.
func TestMissingRecord(t *testing.T) {
	t.Parallel()
	u := newReleaser(t)
	out := u.out("out")
	for _, gone := range []string{".local/state/open-sesame-ci", "store"} {
		if code, log := u.run(t, "build", ".", "--out", out); code != exitOK {
			t.Fatalf("exit code %d:\n%s", code, log)
		}
		makeWritable(filepath.Join(u.home, "store"))
		if err := os.RemoveAll(filepath.Join(u.home, ".local/state/open-sesame-ci")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(u.home, gone)); err != nil {
			t.Fatal(err)
		}
		code, log := u.run(t, "push", "--from", filepath.Join(out, "cache"))
		if code != exitFailed || !strings.Contains(log, "no record of it is there") {
			t.Errorf("push: exit code %d:\n%s", code, log)
		}
		code, log = u.run(t, "warm", ".", "--out", out)
		want := map[string]string{".local/state/open-sesame-ci": "1 present", "store": "1 built"}[gone]
		if code != exitOK || !strings.Contains(log, want) || strings.Contains(log, "moved to") {
			t.Errorf("without %s: exit code %d, want %q:\n%s", gone, code, want, log)
		}
	}
	u.published(t, true)
}

// A record in a flake or a directory of results is refused, because a stranger can have written it.
func TestRecordInATreeIsRefused(t *testing.T) {
	t.Parallel()
	u := newReleaser(t)
	for name, state := range map[string]string{
		"in the flake":          filepath.Join(u.flake, "state"),
		"in the results":        filepath.Join(u.out("out"), "state"),
		"by a link":             u.out("link"),
		"committed":             u.out("other/state"),
		"with access of others": u.out("open"),
	} {
		switch name {
		case "by a link":
			if err := os.Symlink(u.flake, state); err != nil {
				t.Fatal(err)
			}
		case "committed":
			other := &releaser{home: u.home, flake: u.out("other")}
			writeTest(t, filepath.Join(state, "open-sesame-ci", "objects", "x.json"), "{}")
			other.git(t, "init", "-q")
			other.commit(t)
		case "with access of others":
			if err := os.MkdirAll(filepath.Join(state, "open-sesame-ci"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		u.state = state
		code, log := u.run(t, "build", ".", "--out", u.out("out"))
		if code == exitOK || !strings.Contains(log, "open record of builds: ") || strings.Contains(log, "evaluate") {
			t.Errorf("%s: exit code %d:\n%s", name, code, log)
		}
	}
}
