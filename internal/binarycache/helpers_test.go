package binarycache

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

func pathsOf(objects ...nartest.Object) []nix.StorePath {
	var paths []nix.StorePath
	for _, o := range objects {
		paths = append(paths, o.Path)
	}
	return paths
}

func openTest(t testing.TB) *Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// mustImport imports a stream, and checks that no work directory is left.
func mustImport(t testing.TB, d *Dir, stream []byte) []nix.Added {
	t.Helper()
	added, err := d.Import(context.Background(), bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	checkNoLeftovers(t, d)
	return added
}

func checkNoLeftovers(t testing.TB, d *Dir) {
	t.Helper()
	entries, err := os.ReadDir(d.file(incomingDir))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("%d work directories are left", len(entries))
	}
}

// checkConsistent checks that all visible objects are complete, and returns their number.
func checkConsistent(t testing.TB, d *Dir) int {
	t.Helper()
	infos, err := filepath.Glob(d.file("*.narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []nix.StorePath
	for _, name := range infos {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := nix.ParseNARInfo(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		paths = append(paths, info.StorePath)
	}
	if err := verify(context.Background(), d, paths); err != nil {
		t.Error(err)
	}
	return len(paths)
}

// snapshot returns the contents of all files below a directory, by relative name.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func treeNAR(t testing.TB, path string) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := nar.DumpTree(t.Context(), &buf, path); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// sign signs the narinfo of a store object in the cache.
func sign(t testing.TB, d *Dir, path nix.StorePath, key *gonix.PrivateKey) {
	t.Helper()
	info, err := d.Info(path)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := gonix.SignNARInfo(key, info)
	if err != nil {
		t.Fatal(err)
	}
	info.AddSignatures(signature)
	text, err := nix.FormatNARInfo(info)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.file(infoName(path)), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// verify checks objects of a cache, and that their references are in the cache.
func verify(ctx context.Context, d *Dir, paths []nix.StorePath) error {
	for _, path := range paths {
		e, err := d.Check(ctx, path)
		if err != nil {
			return err
		}
		if missing, err := d.Missing(ctx, e.Info.References); err != nil || len(missing) > 0 {
			return fmt.Errorf("verify %s: missing references %v, %v", path, missing, err)
		}
	}
	return nil
}
