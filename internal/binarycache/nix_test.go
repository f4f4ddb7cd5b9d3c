package binarycache

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// nixStore is a separate store for a test, below a directory.
type nixStore struct{ root string }

func (s nixStore) url() string { return "local?root=" + s.root }

func (s nixStore) run(t testing.TB, args ...string) string {
	t.Helper()
	return string(nartest.RunNix(t, "nix-store", append([]string{"--store", s.url()}, args...)...))
}

// buildClosure builds an object that refers to a source, to a text and to itself, and returns its closure, with the object
// last.
func (s nixStore) buildClosure(t testing.TB) []nix.StorePath {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: Nix builds in a store of the test's own")
	}
	expr := fmt.Sprintf(`
		let
		  leaf = builtins.toFile "leaf" "a leaf";
		  tree = builtins.path { path = %s; name = "tree"; };
		in derivation {
		  name = "top+1.0_x"; system = builtins.currentSystem; builder = "/bin/sh";
		  args = [ "-c" "/bin/mkdir $out; echo ${leaf} $out > $out/text; /bin/ln -s ${tree} $out/link" ];
		}`, nartest.OddTree(t))
	file := filepath.Join(t.TempDir(), "top.nix")
	if err := os.WriteFile(file, []byte(expr), 0o644); err != nil {
		t.Fatal(err)
	}
	top := strings.TrimSpace(string(nartest.RunNix(t, "nix-build", "--store", s.url(), "--no-out-link", file)))
	closure, err := nix.ParseStorePaths(s.run(t, "-qR", top))
	if err != nil {
		t.Fatal(err)
	}
	if len(closure) != 3 || string(closure[2]) != top {
		t.Fatalf("the closure of %s is %v", top, closure)
	}
	return closure
}

func (s nixStore) export(t testing.TB, paths []nix.StorePath) []byte {
	t.Helper()
	args := []string{"--export"}
	for _, path := range paths {
		args = append(args, string(path))
	}
	return []byte(s.run(t, args...))
}

// Nix substitutes the imported objects. They are equal to the exported ones.
func TestNixSubstitutes(t *testing.T) {
	source := nixStore{t.TempDir()}
	closure := source.buildClosure(t)
	top := string(closure[len(closure)-1])
	stream := source.export(t, closure)
	public, private, err := gonix.GenerateKey("test-1", nil)
	if err != nil {
		t.Fatal(err)
	}

	for name, test := range map[string]struct {
		signer *gonix.PrivateKey
		args   []string
	}{
		"unsigned": {nil, []string{"--no-check-sigs"}},
		"signed":   {private, []string{"--option", "trusted-public-keys", public.String()}},
	} {
		t.Run(name, func(t *testing.T) {
			d := openTest(t)
			if added := mustImport(t, d, stream); len(added) != len(closure) {
				t.Errorf("added %v", added)
			}
			if test.signer != nil {
				for _, path := range closure {
					sign(t, d, path, test.signer)
				}
			}
			if err := verify(context.Background(), d, closure); err != nil {
				t.Error(err)
			}

			target := nixStore{t.TempDir()}
			args := append([]string{"copy", "--from", "file://" + d.Name(), "--to", target.url(), top}, test.args...)
			nartest.RunNix(t, "nix", args...)
			target.run(t, "--verify", "--check-contents")
			if !bytes.Equal(target.export(t, closure), stream) {
				t.Error("another export of the substituted objects differs")
			}
		})
	}
}

// The narinfos of the cache have the same metadata of the NAR as those that Nix writes for the same objects.
func TestNixWritesTheSame(t *testing.T) {
	source := nixStore{t.TempDir()}
	closure := source.buildClosure(t)
	d := openTest(t)
	mustImport(t, d, source.export(t, closure))

	other := filepath.Join(t.TempDir(), "nix-cache")
	nartest.RunNix(t, "nix", "copy", "--from", source.url(), "--to", "file://"+other+"?compression=zstd", string(closure[2]))
	nixDir, err := OpenReadOnly(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(context.Background(), nixDir, closure); err != nil {
		t.Errorf("a cache that Nix wrote: %v", err)
	}
	for _, path := range closure {
		ours, err := d.Info(path)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := nixDir.Info(path)
		if err != nil {
			t.Fatal(err)
		}
		if ours.NARHash.SRI() != theirs.NARHash.SRI() || ours.NARSize != theirs.NARSize || ours.Deriver != theirs.Deriver ||
			fmt.Sprint(ours.References) != fmt.Sprint(theirs.References) {
			t.Errorf("ours is %+v\ntheirs is %+v", ours, theirs)
		}
	}
}
