package contract

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/example"
)

// Files of the example flake.
const (
	headlessFile = "nix/package.nix"
	desktopFile  = "nix/package-desktop.nix"
	nucleoLine   = `      "nucleo-0.5.0" = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY=";` + "\n"
	clientLine   = `      "cosmic-client-toolkit-0.2.0" = "sha256-DqJMushKFJI+NNdKcV8oFSnFtEKMukiyMW/AnNXsqIA=";` + "\n"
)

var today = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// staticMutants violate one requirement of the example each. The checks of these names fail, the first at that position.
var staticMutants = []struct {
	name     string
	file     string
	old, new string
	check    string
	at       string // "file:line" of the first failure; empty where it has no position
	reason   string
}{
	{"missing hash", headlessFile, nucleoLine, "", "hashes/nix/package.nix/complete", "nix/package.nix:38", "no hash of nucleo-0.5.0"},
	{"missing hash of the other file", desktopFile, nucleoLine, "", "hashes/nix/package-desktop.nix/complete", "nix/package-desktop.nix:43", "no hash of nucleo-0.5.0"},
	{"no hashes at all", headlessFile, "outputHashes", "otherHashes", "hashes/nix/package.nix/complete", "nix/package.nix:1", "no hash of cosmic-client-toolkit-0.2.0"},
	{"hash that is commented out", headlessFile, nucleoLine, "#" + nucleoLine, "hashes/nix/package.nix/complete", "nix/package.nix:39", "no hash of nucleo"},
	{"stale hash", headlessFile, nucleoLine, nucleoLine + `"nucleo-0.4.0" = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY=";`, "hashes/nix/package.nix/stale", "nix/package.nix:39", "nucleo-0.4.0 is no git dependency"},
	{"different hashes", desktopFile, "sha256-BmqF", "sha256-CmqF", "hashes/equal", "nix/package.nix:38", "nucleo-0.5.0 differs from nucleo-0.5.0 in nix/package-desktop.nix:43"},
	{"two hashes of one commit", headlessFile, `0.2.0" = "sha256-Dq`, `0.2.0" = "sha256-Eq`, "hashes/equal", "nix/package.nix:36", "cosmic-client-toolkit-0.2.0 differs from cosmic-client-toolkit-0.2.0 in nix/package-desktop.nix:41; cosmic-protocols"},
	{"name in one file only", headlessFile, clientLine, "", "hashes/equal", "nix/package.nix:38", "cosmic-client-toolkit-0.2.0 is not in nix/package.nix"},
	{"placeholder", headlessFile, `"nucleo-0.5.0" = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY="`, `"nucleo-0.5.0" = lib.fakeHash`, "hashes/nix/package.nix/values", "nix/package.nix:38", "nucleo-0.5.0 has lib.fakeHash"},
	{"cut hash", headlessFile, "KexDd2DY=", "KexDd2=", "hashes/nix/package.nix/values", "nix/package.nix:38", "nucleo-0.5.0 has no real hash"},
	{"Cargo.lock that is not TOML", "Cargo.lock", "[[package]]", "[[package]", "hashes", "Cargo.lock:5", "parse Cargo.lock:5:"},
	{"new git dependency", "Cargo.lock", `[[package]]
name = "nucleo"`, `[[package]]
name = "atomicwrites"
version = "0.4.2"
source = "git+https://github.com/jackpot51/rust-atomicwrites#043ab4859d53ffd3d55334685303d8df39c9f768"

[[package]]
name = "nucleo"`, "hashes/nix/package.nix/complete hashes/nix/package-desktop.nix/complete", "nix/package.nix:39", "no hash of atomicwrites-0.4.2"},

	{"other substituter", "flake.nix", "https://scopecreep-zip.cachix.org", "https://other.cachix.org", "nix-config/substituters", "flake.nix:5", "lacks https://scopecreep-zip.cachix.org"},
	{"other key", "flake.nix", "scopecreep-zip.cachix.org-1:LPiV", "scopecreep-zip.cachix.org-1:MPiV", "nix-config/keys", "flake.nix:6", "lacks scopecreep-zip.cachix.org-1:LPiV"},
	{"no nixConfig", "flake.nix", "nixConfig", "otherConfig", "nix-config/substituters nix-config/keys", "flake.nix:1", "lacks https"},

	{"absolute path", "flake.lock", `"path": "./nixpkgs",
        "type": "path"
      },
      "original"`, `"path": "/home/me/nixpkgs",
        "type": "path"
      },
      "original"`, "lock/fetchable", "flake.lock:3", "input nixpkgs is only on this machine"},
	{"path out of the tree", "flake.lock", `bM=",
        "path": "./nixpkgs"`, `bM=",
        "path": "../nixpkgs"`, "lock/fetchable", "flake.lock:3", "input nixpkgs is only on this machine"},
	{
		"input without a hash", "flake.lock", `"narHash": "sha256-kRMfxoOOV1vJGtLktwkqs+f/IAGgtaGGraoSvgdnwbM=",
        "path": "./nixpkgs",
        "type": "path"`, `"owner": "NixOS", "repo": "nixpkgs", "rev": "main", "lastModified": 1782000000, "type": "github"`,
		"lock/locked", "flake.lock:3", "input nixpkgs is not locked",
	},
	{"version that no Nix writes yet", "flake.lock", `"version": 7`, `"version": 8`, "lock", "flake.lock", "version 8: want 5, 6 or 7"},
	{"edge of another type", "flake.lock", `"nixpkgs": "nixpkgs"`, `"nixpkgs": 1`, "lock", "flake.lock", "neither a node nor a path of inputs"},
	{"input without a node", "flake.lock", `"nixpkgs": "nixpkgs"`, `"nixpkgs": "nixpkgs", "konductor": "konductor"`, "lock/locked", "flake.lock:16", "input konductor of root is not locked"},
	{"dirty input", "flake.lock", `"path": "./nixpkgs",
        "type": "path"
      },
      "original"`, `"url": "https://example.org/nixpkgs", "lastModified": 1782000000, "dirtyRev": "43ab4859d-dirty",
        "type": "git"
      },
      "original"`, "lock/clean", "flake.lock:3", "uncommitted changes"},
	{"lock that is not JSON", "flake.lock", `"version": 7`, `"version" 7`, "lock", "flake.lock:23", "parse flake.lock:23:"},
	{"old nixpkgs", "flake.lock", `"path": "./nixpkgs",
        "type": "path"
      },
      "original"`, `"owner": "NixOS", "repo": "nixpkgs", "rev": "b9d43b3fe5152d1dc5783a2ba865b2a03388b741",
        "type": "github"
      },
      "original"`, "lock/age", "flake.lock:3", "nixpkgs is 20634 days old"},
}

func TestStaticMutants(t *testing.T) {
	t.Parallel()
	for _, m := range staticMutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			tree := writeExample(t)
			replace(t, filepath.Join(tree, m.file), m.old, m.new)
			c := openSesame()
			c.Strict = true
			var broken []string
			var first Result
			for _, r := range c.Static(tree, today) {
				if r.Status == Fail {
					broken = append(broken, r.Check)
				}
				if r.Status == Fail && first.Check == "" {
					first = r
				}
			}
			if diff := cmp.Diff(strings.Fields(m.check), broken); diff != "" {
				t.Fatalf("failed checks (-want +got):\n%s", diff)
			}
			if at := Where(first); at != m.at || !strings.Contains(first.Reason, m.reason) {
				t.Errorf("at %s: %s\nwant at %s: …%s…", at, first.Reason, m.at, m.reason)
			}
		})
	}
}

func TestStaticPassesOnTheExample(t *testing.T) {
	c := openSesame()
	c.Strict = true
	results := c.Static(writeExample(t), today)
	for _, r := range results {
		if r.Status == Fail {
			t.Errorf("%s: %s", r.Check, r.Reason)
		}
	}
	if len(results) < 10 {
		t.Errorf("%d results, want one for each check", len(results))
	}
}

// These are locks that Nix accepts.
func TestLocksOfOtherVersionsOfNixPass(t *testing.T) {
	t.Parallel()
	const hash = `"narHash": "sha256-kRMfxoOOV1vJGtLktwkqs+f/IAGgtaGGraoSvgdnwbM=",`
	for name, change := range map[string]func(lock string) string{
		"relative input of Nix 2.26, without a hash": func(lock string) string {
			return strings.Replace(strings.Replace(lock, hash, "", 1), `"original"`, `"parent": [], "original"`, 1)
		},
		"path from an input within the tree": func(lock string) string {
			lock = strings.Replace(lock, `"nixpkgs": "nixpkgs"`, `"nixpkgs": "nixpkgs", "other": "other"`, 1)
			return strings.Replace(lock, `"nodes": {`, `"nodes": {"other": {"locked": {"type": "path", "path": "../other"}, "parent": ["nixpkgs"]},`, 1)
		},
		"byte order mark": func(lock string) string { return "\ufeff" + lock },
		"CRLF":            func(lock string) string { return strings.ReplaceAll(lock, "\n", "\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			tree := writeExample(t)
			file := filepath.Join(tree, "flake.lock")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lock := change(string(data))
			if lock == string(data) {
				t.Fatal("the lock is not changed")
			}
			if err := os.WriteFile(file, []byte(lock), 0o644); err != nil {
				t.Fatal(err)
			}
			var passed []string
			for _, r := range openSesame().Static(tree, today) {
				if r.Status == Fail {
					t.Errorf("%s: %s", r.Check, r.Reason)
				}
				if strings.HasPrefix(r.Check, "lock/") && r.Status == Pass {
					passed = append(passed, r.Check)
				}
			}
			if want := []string{"lock/locked", "lock/clean", "lock/fetchable"}; !slices.Equal(passed, want) {
				t.Errorf("passed %q, want %q", passed, want)
			}
		})
	}
}

func TestMissingFilesAreNamed(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"Cargo.lock", headlessFile, "flake.lock"} {
		tree := writeExample(t)
		if err := os.Remove(filepath.Join(tree, file)); err != nil {
			t.Fatal(err)
		}
		results := openSesame().Static(tree, today)
		if !slices.ContainsFunc(results, func(r Result) bool { return r.Status == Fail && strings.Contains(r.Reason, filepath.Base(file)) }) {
			t.Errorf("without %s: %+v", file, results)
		}
	}
}

// Hashes that come from another file are valid Nix. They are skipped.
func TestHashesOfOtherFilesAreSkipped(t *testing.T) {
	t.Parallel()
	for _, other := range []string{
		"outputHashes = import ./hashes.nix // {", "allowBuiltinFetchGit = true; other = {", "inherit outputHashes; other = {",
	} {
		tree := writeExample(t)
		replace(t, filepath.Join(tree, headlessFile), "outputHashes = {", other)
		for _, r := range openSesame().Static(tree, today) {
			if r.Status == Fail || r.Check == "hashes/nix/package.nix" && (r.Status != Skip || r.Line != 35) {
				t.Errorf("%s: %s: %s %s:%d", other, r.Check, r.Status, r.Reason, r.Line)
			}
		}
	}
}

// A table can be defined before its use.
func TestHashesMayBeBoundToAName(t *testing.T) {
	t.Parallel()
	tree := writeExample(t)
	replace(t, filepath.Join(tree, headlessFile), "let\n", "let\n  use = { inherit outputHashes; };\n")
	for _, r := range openSesame().Static(tree, today) {
		if r.Status == Fail || r.Check == "hashes/nix/package.nix" {
			t.Errorf("%s: %s %s", r.Check, r.Status, r.Reason)
		}
	}
}

// Open Sesame has 18 git packages from 6 repositories: one hash of each repository's commit is enough.
func TestOneHashOfACommitIsEnough(t *testing.T) {
	t.Parallel()
	tree := writeExample(t)
	for _, file := range []string{headlessFile, desktopFile} {
		replace(t, filepath.Join(tree, file), clientLine, "")
	}
	for _, r := range openSesame().Static(tree, today) {
		if r.Status == Fail {
			t.Errorf("%s: %s", r.Check, r.Reason)
		}
	}
}

func TestFinishFailsChecksThatDidNotRun(t *testing.T) {
	got := new(Contract).Finish([]Result{{Check: "units/a", Status: Pass}}, "", []string{"units", "unit"})
	if len(got) != 2 || got[1].Check != "unit" || got[1].Status != Fail {
		t.Errorf("results %+v, want a failure of unit", got)
	}
}

func BenchmarkStatic(b *testing.B) {
	tree := writeExample(b)
	c := openSesame()
	for b.Loop() {
		c.Static(tree, today)
	}
}

func writeExample(t testing.TB) string {
	t.Helper()
	tree := t.TempDir()
	if err := example.Write(tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// replace changes the first old text of a file, which must be there.
func replace(t testing.TB, file, old, new string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s does not have %q", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}
