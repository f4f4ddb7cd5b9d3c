package flake

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lockText is a lock as Nix writes it: followed inputs, two nodes of one name, each kind of reference.
const lockText = `{
  "nodes": {
    "root": {"inputs": {"hm": "hm", "nixpkgs": "nixpkgs_2", "tools": "tools", "own": "own", "web": "web"}},
    "hm": {"inputs": {"nixpkgs": ["nixpkgs"], "systems": "systems"}, "locked": {
      "type": "gitlab", "owner": "group/sub", "repo": "hm", "rev": "1111111111111111111111111111111111111111",
      "host": "gitlab.example.org", "narHash": "sha256-kRMfxoOOV1vJGtLktwkqs+f/IAGgtaGGraoSvgdnwbM=", "lastModified": 5}},
    "systems": {"locked": {"type": "github", "owner": "nix-systems", "repo": "default", "rev": "2222222222222222222222222222222222222222"}},
    "nixpkgs": {"locked": {"type": "indirect", "id": "nixpkgs", "rev": "3333333333333333333333333333333333333333"}},
    "nixpkgs_2": {"locked": {"type": "github", "owner": "NixOS", "repo": "nixpkgs", "rev": "4444444444444444444444444444444444444444"}},
    "tools": {"inputs": {"nixpkgs": "nixpkgs", "systems": "systems"}, "locked": {
      "type": "git", "url": "https://me:secret@example.org/tools.git", "ref": "refs/heads/main",
      "rev": "5555555555555555555555555555555555555555", "dir": "a b", "submodules": true}},
    "own": {"locked": {"type": "path", "path": "./own"}},
    "web": {"flake": false, "locked": {"type": "tarball", "url": "https://example.org/a.tar.gz?token=secret&x=1"}}
  },
  "root": "root", "version": 7
}`

func TestInputs(t *testing.T) {
	got, err := inputsOf([]byte(lockText), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Input{
		{
			Name: "hm", URL: "gitlab:group%2Fsub/hm/1111111111111111111111111111111111111111?host=gitlab.example.org",
			Rev: "1111111111111111111111111111111111111111", NARHash: "sha256-kRMfxoOOV1vJGtLktwkqs+f/IAGgtaGGraoSvgdnwbM=", LastModified: 5,
		},
		{Name: "hm/systems", URL: "github:nix-systems/default/2222222222222222222222222222222222222222", Rev: "2222222222222222222222222222222222222222"},
		{Name: "nixpkgs", URL: "github:NixOS/nixpkgs/4444444444444444444444444444444444444444", Rev: "4444444444444444444444444444444444444444"},
		{Name: "own", URL: "path:./own"},
		{
			Name: "tools",
			URL:  "git+https://example.org/tools.git?dir=a%20b&ref=refs/heads/main&rev=5555555555555555555555555555555555555555&submodules=1",
			Rev:  "5555555555555555555555555555555555555555",
		},
		{Name: "tools/nixpkgs", URL: "flake:nixpkgs/3333333333333333333333333333333333333333", Rev: "3333333333333333333333333333333333333333"},
		{Name: "web", URL: "tarball+https://example.org/a.tar.gz?x=1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Inputs that only an overridden input has do not take part in the build. Inputs that others have too do.
func TestInputsLeavesOutOverriddenInputs(t *testing.T) {
	got, err := inputsOf([]byte(lockText), func(name string) bool { return name == "tools" || name == "hm" })
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range got {
		names = append(names, i.Name)
	}
	if want := []string{"nixpkgs", "own", "web"}; !slices.Equal(names, want) {
		t.Errorf("inputs %q, want %q", names, want)
	}
	got, err = inputsOf([]byte(lockText), func(name string) bool { return name == "hm" })
	if err != nil || !slices.ContainsFunc(got, func(i Input) bool { return i.Name == "tools/systems" }) {
		t.Errorf("inputs %v, error %v: want tools/systems, to which hm led first", got, err)
	}
}

func TestInputsOfExample(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "example", "flake", "flake.lock"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := inputsOf(data, nil)
	if err != nil || len(got) != 1 || got[0].Name != "nixpkgs" || got[0].URL != "path:./nixpkgs" || !strings.HasPrefix(got[0].NARHash, "sha256-") {
		t.Errorf("inputs %+v, error %v", got, err)
	}
}

func TestInputsRefuses(t *testing.T) {
	for name, test := range map[string]struct{ lock, want string }{
		"nothing":         {"", "unexpected end of JSON input"},
		"cut off":         {lockText[:200], "unexpected end of JSON input"},
		"another version": {`{"version": 8, "root": "root", "nodes": {"root": {}}}`, "version 8"},
		"no root":         {`{"version": 7, "root": "root", "nodes": {}}`, `no node "root"`},
		"no node":         {`{"version": 7, "root": "r", "nodes": {"r": {"inputs": {"a": "b"}}}}`, `input a: no node "b"`},
		"no lock":         {`{"version": 7, "root": "r", "nodes": {"r": {"inputs": {"a": "b"}}, "b": {}}}`, "input a: not locked"},
		"odd edge":        {`{"version": 7, "root": "r", "nodes": {"r": {"inputs": {"a": 1}}}}`, "input a: neither"},
		"odd type":        {`{"version": 7, "root": "r", "nodes": {"r": {"inputs": {"a": "b"}}, "b": {"locked": {"type": "x"}}}}`, `type "x"`},
		"deep":            {strings.Repeat(`{"nodes":`, 20000), "exceeded max depth"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := inputsOf([]byte(test.lock), nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestInputsEndsOnCycle(t *testing.T) {
	got, err := inputsOf([]byte(`{"version": 7, "root": "r", "nodes": {"r": {"inputs": {"a": "a"}},
		"a": {"inputs": {"up": "r", "b": "b"}, "locked": {"type": "path", "path": "a"}},
		"b": {"inputs": {"a": "a"}, "locked": {"type": "path", "path": "b"}}}}`), nil)
	if err != nil || len(got) != 2 || got[1].Name != "a/b" {
		t.Errorf("inputs %v, error %v", got, err)
	}
}

// inputsOf parses a flake.lock and returns its inputs.
func inputsOf(data []byte, overridden func(string) bool) ([]Input, error) {
	lock, err := ParseLock(data)
	if err != nil {
		return nil, err
	}
	return lock.Inputs(overridden)
}

// unlockedOf parses a flake.lock and returns its unlocked nodes.
func unlockedOf(data []byte) ([]string, error) {
	lock, err := ParseLock(data)
	if err != nil {
		return nil, err
	}
	return lock.Unlocked(), nil
}

// The URL of an input is that of a manifest of an earlier version, which reproduce compares with the lock.
func TestInputsKeepTheirURL(t *testing.T) {
	const rev = "1111111111111111111111111111111111111111"
	for locked, want := range map[string]string{
		`"type": "tarball", "url": "https://api.example.org/f/a.tar.gz", "rev": "` + rev + `"`:             "tarball+https://api.example.org/f/a.tar.gz",
		`"type": "file", "url": "https://example.org/a", "rev": "` + rev + `"`:                             "file+https://example.org/a",
		`"type": "github", "owner": "o", "repo": "r", "ref": "main", "rev": "` + rev + `"`:                 "github:o/r/" + rev,
		`"type": "git", "url": "https://example.org/a.git", "ref": "main", "rev": "` + rev + `"`:           "git+https://example.org/a.git?ref=main&rev=" + rev,
		`"type": "hg", "url": "https://example.org/a", "ref": "default", "rev": "` + rev + `"`:             "hg+https://example.org/a?ref=default&rev=" + rev,
		`"type": "indirect", "id": "nixpkgs", "ref": "nixos-unstable", "dir": "sub", "rev": "` + rev + `"`: "flake:nixpkgs/nixos-unstable/" + rev + "?dir=sub",
	} {
		got, err := inputsOf([]byte(`{"nodes": {"root": {"inputs": {"a": "a"}}, "a": {"locked": {`+locked+`}}}, "root": "root", "version": 7}`), nil)
		if err != nil || len(got) != 1 || got[0].URL != want {
			t.Errorf("%s: inputs %+v, error %v, want %s", locked, got, err, want)
		}
	}
}

func TestSameURL(t *testing.T) {
	for _, same := range [][2]string{
		{"tarball+https://example.org/a.tar.gz?token=…&x=1", "tarball+https://example.org/a.tar.gz?x=1"},
		{"tarball+https://example.org/a.tar.gz?x=a+b&a=1", "tarball+https://example.org/a.tar.gz?a=1&x=a%20b"},
		{"git+https://example.org/a.git?z=1&ref=main", "git+https://example.org/a.git?ref=main&z=1"},
		{"path:./a b", "path:./a%20b"},
	} {
		if !SameURL(same[0], same[1]) {
			t.Errorf("%s and %s differ", same[0], same[1])
		}
	}
	if SameURL("github:a/b/c", "github:a/x/c") || SameURL("tarball+https://example.org/?x=1", "tarball+https://example.org/?x=2") {
		t.Error("other URLs are the same")
	}
}
