package binarycache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// testObject is a store object that is one file.
type testObject struct {
	path    nix.StorePath
	content []byte
	refs    []nix.StorePath
	deriver nix.StorePath
}

// testPath makes up a store path.
func testPath(name string) nix.StorePath {
	sum := sha256.Sum256([]byte(name))
	return nix.StorePath("/nix/store/" + nixbase32.EncodeToString(sum[:20]) + "-" + name)
}

// randomObject has n bytes, half of which can be compressed, and the references.
func randomObject(name string, n int, refs ...nix.StorePath) testObject {
	random := rand.NewChaCha8(sha256.Sum256([]byte(name)))
	content := make([]byte, n)
	_, _ = random.Read(content[:n/2])
	return testObject{path: testPath(name), content: content, refs: refs}
}

// words serialises integers, strings and store paths as Nix does.
func words(values ...any) []byte {
	var out []byte
	for _, v := range values {
		switch v := v.(type) {
		case int:
			out = binary.LittleEndian.AppendUint64(out, uint64(v))
		case uint64:
			out = binary.LittleEndian.AppendUint64(out, v)
		case nix.StorePath:
			out = append(out, words(string(v))...)
		case string:
			out = binary.LittleEndian.AppendUint64(out, uint64(len(v)))
			out = append(out, v...)
			out = append(out, make([]byte, -len(v)&7)...)
		case []byte:
			out = append(out, v...)
		}
	}
	return out
}

func fileNAR(content []byte) []byte {
	return words(narMagic, "(", "type", "regular", "contents", string(content), ")")
}

func (o testObject) nar() []byte { return fileNAR(o.content) }

func (o testObject) export() []byte {
	out := words(1, o.nar(), exportMagic, o.path, len(o.refs))
	for _, ref := range o.refs {
		out = append(out, words(ref)...)
	}
	return append(out, words(o.deriver, 0)...)
}

func exportOf(objects ...testObject) []byte {
	var out []byte
	for _, o := range objects {
		out = append(out, o.export()...)
	}
	return append(out, words(0)...)
}

func pathsOf(objects ...testObject) []nix.StorePath {
	var paths []nix.StorePath
	for _, o := range objects {
		paths = append(paths, o.path)
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

// mustImport imports and checks that no work directory is left.
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

// checkConsistent checks that whatever can be seen in the cache is complete, and returns how many objects that is.
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
	if err := d.Verify(context.Background(), paths); err != nil {
		t.Error(err)
	}
	return len(paths)
}

// snapshot returns the contents of all files below a directory by their relative names.
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
	if _, err := writeTree(t.Context(), &buf, path); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
