package drvdiff

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// testStore is a store for one test. Nix adds derivations to it, and builds nothing.
type testStore struct{ root string }

func newTestStore(t *testing.T) testStore {
	t.Helper()
	if _, err := exec.LookPath("nix-instantiate"); err != nil {
		t.Skip("needs Nix:", err)
	}
	s := testStore{t.TempDir()}
	t.Cleanup(func() { // directories of a store are read-only, except for root
		_ = filepath.WalkDir(s.root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				_ = os.Chmod(path, 0o755)
			}
			return nil
		})
	})
	return s
}

func (s testStore) reader() Store { return Store(filepath.Join(s.root, "nix/store")) }

// output returns what a program of Nix prints.
func (s testStore) output(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "NIX_REMOTE=local?root="+s.root, "NIX_CONFIG="+nix.Settings{
		"experimental-features": "nix-command flakes ca-derivations",
		"build-users-group":     "",
		"substituters":          "",
		"warn-dirty":            "false",
		"eval-cache":            "false",
	}.Config())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// instantiate adds the derivations of trees of files, each of which has a default.nix.
func (s testStore) instantiate(t *testing.T, trees ...map[string]string) []nix.StorePath {
	t.Helper()
	var dirs []string
	for _, tree := range trees {
		dir := t.TempDir()
		for name, text := range tree {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		dirs = append(dirs, filepath.Join(dir, "default.nix"))
	}
	paths, err := nix.ParseStorePaths(s.output(t, "nix-instantiate", dirs...))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != len(trees) {
		t.Fatalf("%d trees are %v", len(trees), paths)
	}
	return paths
}

// leaves is a derivation three levels down with most features of derivations, and the derivations that are built with it.
const leaves = `
let
  system = "x86_64-linux";
  drv = args: derivation ({ inherit system; builder = "/bin/sh"; } // args);

  fetched = drv {
    name = "hello.tar";
    url = "https://example.org/hello-1.tar";
    outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
  };
  tool = drv { name = "tool-1.0"; version = "1.0"; };
  spare = drv { name = "spare"; };

  leaf = drv {
    name = "leaf-1.0";
    builder = "/bin/bash";
    args = [ "-e" "-c" "first\nsecond\nthird\n" ];
    outputs = [ "out" "dev" ];
    src = ./src;
    text = builtins.toFile "setup.sh" "echo";
    FLAGS = "-O2 -g";
    long = "` + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA here ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ" + `";
    remote = "https://user:secret@example.org/";
    script = "set -e\nmake\nmake install\n";
    deps = [ tool fetched ];
  };
  structured = drv {
    name = "structured";
    __structuredAttrs = true;
    env = { PATH = "/bin"; LEAF = leaf; };
    flags = [ "-a" "-b" ];
    jobs = 4;
    inherit leaf;
  };
  addressed = drv {
    name = "addressed";
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
    inherit leaf;
  };

  # Two derivations with the same name: only their positions differ.
  twin = which: drv { name = "twin"; inherit which leaf; label = builtins.unsafeDiscardStringContext leaf.drvPath; };

  middle = drv {
    name = "middle";
    builder = "${leaf}/bin/sh";
    args = [ "${leaf.dev}/include" (twin 1) (twin 2) ];
    text = "${leaf} ${structured} ${addressed}";
    reference = leaf.drvPath;
  };
in
drv { name = "root"; deps = [ middle leaf.dev ]; }
`

func leavesTree() map[string]string {
	return map[string]string{"default.nix": leaves, "src/main.c": "int main;"}
}
