package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// afterBuild builds the package, and returns the user's record, the package and one of its dependencies.
func afterBuild(t *testing.T, u *releaser) (r *record.Record, output, dependency nix.StorePath) {
	t.Helper()
	if code, log := u.run(t, "build", ".", "--out", u.out("out")); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, log)
	}
	r, err := record.Open(filepath.Join(u.home, ".local/state/open-sesame-ci"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cache, err := binarycache.OpenReadOnly(filepath.Join(u.out("out"), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	infos, err := cache.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if strings.HasPrefix(info.Path.Name(), "open-sesame-1") {
			output = info.Path
		} else {
			dependency = info.Path
		}
	}
	if output == "" || dependency == "" {
		t.Fatalf("no package with a dependency in %v", infos)
	}
	return r, output, dependency
}

// journal writes the journal of a release whose cache was down.
func (u *releaser) journal(t *testing.T, r *record.Record, output nix.StorePath, c publish.Consent) {
	t.Helper()
	j := publish.NewJournal(regular.NewDir(u.out("out")), "1", r)
	entry := publish.JournalEntry{System: "x86_64-linux", Cache: "scopecreep-zip", Paths: []nix.StorePath{output}, Consent: c}
	if err := j.Add(entry); err != nil {
		t.Fatal(err)
	}
	if err := j.Pin(map[string]nix.StorePath{"open-sesame-x86_64-linux": output}); err != nil {
		t.Fatal(err)
	}
}

// An object that the record objects to is not published, not even as a dependency or by an older journal. The journal of a
// run that was allowed to publish it has that consent.
func TestObjectsWithAnObjectionAreNotPushed(t *testing.T) {
	t.Parallel()
	u := newReleaser(t)
	r, output, dependency := afterBuild(t, u)
	for _, test := range []struct {
		name    string
		change  func(*record.Object)
		consent publish.Consent
	}{
		{"differed", func(o *record.Object) { o.Second = record.Different }, publish.Consent{Different: true}},
		{"no sandbox", func(o *record.Object) { o.Second, o.Sandbox = "", record.SandboxOff }, publish.Consent{Unsandboxed: true}},
	} {
		if err := r.Change([]nix.StorePath{dependency}, test.change); err != nil {
			t.Fatal(err)
		}
		u.journal(t, r, output, publish.Consent{})
		for _, args := range [][]string{{"release", "."}, {"push", "--from", filepath.Join(u.out("out"), "cache")}, {"push", "--resume"}} {
			code, log := u.run(t, args[0], append(args[1:], "--out", u.out("out"))...)
			if code == exitOK != (args[0] == "release") || !strings.Contains(log, "second build") && !strings.Contains(log, "without a sandbox") {
				t.Errorf("%s, %v: exit code %d:\n%s", test.name, args, code, log)
			}
			u.published(t, false)
			if pins := u.server.Count("pin"); pins > 0 {
				t.Fatalf("%s, %v: %d pins", test.name, args, pins)
			}
		}
	}
	u.journal(t, r, output, publish.Consent{Unsandboxed: true})
	if code, log := u.run(t, "push", "--resume", "--out", u.out("out")); code != exitOK {
		t.Errorf("with the consent of the run: exit code %d:\n%s", code, log)
	}
	u.published(t, true)
}

// A journal that was completely published is not resumed again: that would pin an old release.
func TestJournalIsNotReplayed(t *testing.T) {
	t.Parallel()
	u := newReleaser(t)
	r, output, _ := afterBuild(t, u)
	u.journal(t, r, output, publish.Consent{})
	file := filepath.Join(u.out("out"), "journal", "1.json")
	text := readTest(t, file)
	if code, log := u.run(t, "push", "--resume", "--out", u.out("out")); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, log)
	}
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	writeTest(t, file, text)
	code, log := u.run(t, "push", "--resume", "--out", u.out("out"))
	if pins := u.server.Count("pin"); code == exitOK || !strings.Contains(log, "--unrecorded") || pins != 1 {
		t.Errorf("exit code %d, %d pins:\n%s", code, pins, log)
	}
}

// A journal that cannot be read stays, and the others are resumed. The exit code is that of an incomplete push.
func TestMalformedJournalIsLeftAndOthersAreResumed(t *testing.T) {
	t.Parallel()
	u := newReleaser(t)
	r, output, _ := afterBuild(t, u)
	u.journal(t, r, output, publish.Consent{})
	file := filepath.Join(u.out("out"), "journal", "0.json")
	writeTest(t, file, "{")
	code, log := u.run(t, "push", "--resume", "--out", u.out("out"))
	if code != exitPublish || !strings.Contains(log, "read journal "+file) || !strings.Contains(log, "remove "+file) {
		t.Errorf("exit code %d:\n%s", code, log)
	}
	u.published(t, true)
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 || left[0].Name() != "0.json" {
		t.Errorf("left are %v, %v", left, err)
	}
}

// A build tool is in no closure. If an earlier run built a tool without a sandbox, no command publishes what was built with
// that tool, until both are built again.
func TestOutputsOfAnUnsandboxedToolAreNotPushed(t *testing.T) {
	t.Parallel()
	u := newReleaser(t)
	writeTest(t, filepath.Join(u.flake, "flake.nix"), `{
  outputs = _: {
    packages.x86_64-linux.open-sesame = let
      make = name: input: script: derivation {
        inherit name input;
        system = "x86_64-linux";
        builder = ./nixpkgs/bootstrap/x86_64-linux/kit;
        args = [ "sh" "-e" (builtins.toFile "build.sh" script) ];
      };
      tool = make "tool" "" "echo harmless > $out";
      library = make "library" tool "echo made with the tool > $out";
    in make "open-sesame-1" library "echo $input > $out";
  };
}
`)
	u.git(t, "rm", "-q", "--cached", "flake.lock")
	if err := os.Remove(filepath.Join(u.flake, "flake.lock")); err != nil {
		t.Fatal(err)
	}
	u.commit(t)
	if code, log := u.run(t, "build", ".", "--out", u.out("first")); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, log)
	}
	r, err := record.Open(filepath.Join(u.home, ".local/state/open-sesame-ci"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files, err := filepath.Glob(filepath.Join(r.Path(), "objects/*-tool.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the record has the tool in %v, %v", files, err)
	}
	tool := nix.StorePath("/nix/store/" + strings.TrimSuffix(filepath.Base(files[0]), ".json"))
	if err := r.Change([]nix.StorePath{tool}, func(o *record.Object) { o.Sandbox = record.SandboxOff }); err != nil {
		t.Fatal(err)
	}
	out := u.out("out")
	for _, args := range [][]string{{"release", "."}, {"release", "."}, {"push", "--from", filepath.Join(out, "cache")}} {
		code, log := u.run(t, args[0], append(args[1:], "--out", out)...)
		if code == exitOK != (args[0] == "release") || !strings.Contains(log, "built without a sandbox") {
			t.Errorf("%v: exit code %d:\n%s", args, code, log)
		}
		if paths := u.server.Paths(); len(paths) > 0 {
			t.Fatalf("%v: published %v", args, paths)
		}
	}
	for _, name := range []string{"library", "open-sesame-1"} {
		files, err := filepath.Glob(filepath.Join(r.Path(), "objects/*-"+name+".json"))
		if err != nil || len(files) != 1 || !strings.Contains(readTest(t, files[0]), `"sandbox":"off"`) {
			t.Errorf("%s is not known to be built with the tool: %v, %v", name, files, err)
		}
	}
	if code, log := u.run(t, "release", ".", "--out", out, "--push-unsandboxed"); code != exitOK || len(u.server.Paths()) != 2 {
		t.Errorf("with consent: exit code %d, published %v:\n%s", code, u.server.Paths(), log)
	}
}
