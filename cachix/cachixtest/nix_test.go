package cachixtest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// runNix runs a program of Nix and returns its output. It skips the test without Nix, and if the user cannot create a separate
// store.
func runNix(t testing.TB, program string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs Nix: %v", err)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: Nix writes a store of the test's own")
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(t.TempDir(), "cache"), "NIX_CONFIG="+nix.Settings{
		"experimental-features": "nix-command flakes",
		"build-users-group":     "",
		"substituters":          "",
	}.Config())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Logf("%s %s: %v\n%s", program, strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out), err
}

func mustNix(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := runNix(t, program, args...)
	if err != nil {
		t.FailNow()
	}
	return out
}

// closure adds two paths to a store, the second of which refers to the first, and returns their metadata.
func closure(t testing.TB, store string) []testObject {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(tree, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"bin/run": 0o755, "..data": 0o644, "empty": 0o644} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(strings.Repeat(name, 1000)), mode); err != nil {
			t.Fatal(err)
		}
	}
	leaf := strings.TrimSpace(mustNix(t, "nix-store", "--store", store, "--add", tree))
	top := mustNix(t, "nix-instantiate", "--store", store, "--eval", "--read-write-mode", "--json", "--expr",
		`builtins.toFile "top" "refers to ${builtins.storePath `+leaf+`}"`)
	if err := json.Unmarshal([]byte(top), &top); err != nil {
		t.Fatal(err)
	}
	var objects []testObject
	for _, path := range []string{leaf, top} {
		o := testObject{path: filepath.Base(path)}
		o.nar = []byte(dump(t, store, path))
		for ref := range strings.Lines(mustNix(t, "nix-store", "--store", store, "-q", "--references", path)) {
			o.refs = append(o.refs, filepath.Base(strings.TrimSpace(ref)))
		}
		objects = append(objects, o)
	}
	if !slices.Contains(objects[1].refs, objects[0].path) {
		t.Fatalf("%s refers to %q", top, objects[1].refs)
	}
	return objects
}

// dump returns the NAR of a path of a store below a directory.
func dump(t testing.TB, store, path string) string {
	t.Helper()
	return mustNix(t, "nix-store", "--store", store, "--dump", strings.TrimPrefix(store, "local?root=")+path)
}

// Nix substitutes pushed paths, and only with the key of the cache.
func TestNixSubstitutes(t *testing.T) {
	source := "local?root=" + t.TempDir()
	objects := closure(t, source)
	owner := testKey(t)
	for name, options := range map[string]Options{
		"managed":     {},
		"self-signed": {SelfSigned: owner.PublicKey().String()},
		"from files":  {Dir: t.TempDir()},
		"xz":          {Preferred: "XZ"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, options)
			for _, o := range objects {
				if options.SelfSigned != "" {
					o.sign = signer(t, owner)
				}
				if options.Preferred == "XZ" {
					c.pushFile(o, "xz", xzStream(t, o.nar))
				} else {
					c.push(o)
				}
			}
			top := "/nix/store/" + objects[1].path
			copyTo := func(target string, key string) error {
				_, err := runNix(t, "nix", "copy", "--from", c.s.PublicURL(), "--to", target,
					"--option", "require-sigs", "true", "--option", "trusted-public-keys", key, top)
				return err
			}
			if copyTo("local?root="+t.TempDir(), start(t, Options{Name: "other"}).s.PublicKeys()[0]) == nil {
				t.Error("Nix took it by the key of another cache")
			}
			target := "local?root=" + t.TempDir()
			if err := copyTo(target, c.s.PublicKeys()[0]); err != nil {
				t.Fatal(err)
			}
			for _, o := range objects {
				if dump(t, target, "/nix/store/"+o.path) != string(o.nar) {
					t.Errorf("%s has become another", o.path)
				}
			}
			c.noProblems()
		})
	}
}

// Nix can write to the plain cache.
func TestNixCopiesToPlainCache(t *testing.T) {
	source := "local?root=" + t.TempDir()
	objects := closure(t, source)
	top := "/nix/store/" + objects[1].path
	for name, trusting := range map[string]bool{"kept": false, "trusting": true} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Options{Trusting: trusting, Dir: t.TempDir()})
			cache := c.s.PublicURL() + "put/"
			mustNix(t, "nix", "copy", "--from", source, "--to", cache+"?compression=zstd", "--no-check-sigs", top)
			if info := c.get("put/" + objects[0].hash() + ".narinfo"); info.status != 200 || !strings.Contains(info.body, objects[0].path) {
				t.Errorf("narinfo: %d %s", info.status, info.body)
			}
			target := "local?root=" + t.TempDir()
			_, err := runNix(t, "nix", "copy", "--from", cache, "--to", target, "--no-check-sigs", top)
			if trusting {
				if err == nil {
					t.Error("Nix copied bytes that were not kept")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if dump(t, target, top) != string(objects[1].nar) {
				t.Error("it has become another")
			}
			c.noProblems()
		})
	}
}
