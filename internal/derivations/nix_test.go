package derivations

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// store is a Nix store of the test's own.
type store struct {
	t    *testing.T
	root string
}

func newStore(t *testing.T) store {
	t.Helper()
	if _, err := exec.LookPath("nix-store"); err != nil {
		t.Skip("needs Nix: apt-get install nix-bin")
	}
	root := t.TempDir()
	t.Cleanup(func() {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = os.Chmod(path, 0o755)
			}
			return nil
		})
	})
	return store{t, root}
}

func (s store) run(args ...string) []byte {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "NIX_REMOTE=local?root="+s.root, "NIX_CONFIG=substituters =\nbuild-users-group =\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%q: %v\n%s", args, err, &stderr)
	}
	return out
}

// export instantiates an expression that has each kind of source, and returns the export of all that it is made from.
func (s store) export() (root nix.StorePath, paths []string, stream []byte) {
	s.t.Helper()
	dir := s.t.TempDir()
	for name, text := range map[string]string{"plain": "a plain file\n", "tree/a": "in a tree\n", "tree/b/c": "deeper\n"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	const expression = `{ dir }: let
		text = builtins.toFile "text" "written by Nix";
		dependent = builtins.toFile "dependent" "it names ${text}";
		input = derivation { name = "input"; system = "x86_64-linux"; builder = "/bin/sh"; src = "${dir + "/plain"}"; };
	in derivation {
		name = "root"; system = "x86_64-linux"; builder = "/bin/sh"; inherit input dependent;
		tree = "${dir + "/tree"}";
		flat = builtins.path { path = dir + "/plain"; name = "flat"; recursive = false; };
	}`
	drv := strings.TrimSpace(string(s.run("nix-instantiate", "-E", expression, "--arg", "dir", dir)))
	paths = strings.Fields(string(s.run("nix-store", "--query", "--requisites", drv)))
	return nix.StorePath(drv), paths, s.run(append([]string{"nix-store", "--export"}, paths...)...)
}

// Whatever Nix makes a path of is believed, and the texts of derivations are those of the store.
func TestWhatNixExports(t *testing.T) {
	s := newStore(t)
	root, paths, stream := s.export()
	got, err := Check(t.Context(), bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range got {
		names = append(names, string(p))
	}
	if len(paths) < 7 || !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(paths))) {
		t.Errorf("paths %q, want %q", names, paths)
	}
	file := filepath.Join(t.TempDir(), "out/derivations/x86_64-linux.export.zst")
	if err := Write(file, func(w io.Writer) error { _, err := w.Write(stream); return err }); err != nil {
		t.Fatal(err)
	}
	texts, err := ReadFile(t.Context(), file)
	if err != nil || len(texts) != 2 {
		t.Fatalf("%d derivations, %v", len(texts), err)
	}
	want, err := os.ReadFile(filepath.Join(s.root, string(root)))
	if err != nil || !bytes.Equal(texts[root], want) {
		t.Errorf("%s is %q, want %q (%v)", root, texts[root], want, err)
	}
}

// One byte of any object is another one, and the object is not believed.
func TestForgery(t *testing.T) {
	_, _, stream := newStore(t).export()
	for _, text := range []string{"written by Nix", "it names", "a plain file", "in a tree", "deeper", "/bin/sh"} {
		at := bytes.Index(stream, []byte(text))
		if at < 0 {
			t.Fatalf("the export has no %q", text)
		}
		forged := bytes.Clone(stream)
		forged[at] ^= 1
		if _, err := Check(t.Context(), bytes.NewReader(forged)); !errors.Is(err, ErrForged) {
			t.Errorf("%q was changed: %v", text, err)
		}
	}
	// An output is made of what built it, and not of its contents. It cannot be proven, whoever sends it.
	s := newStore(t)
	path := strings.TrimSpace(string(s.run("nix-store", "--add", os.Args[0])))
	output := bytes.Replace(s.run("nix-store", "--export", path), []byte(path), []byte("/nix/store/00000000000000000000000000000001-"+filepath.Base(path)[33:]), 1)
	if _, err := Check(t.Context(), bytes.NewReader(output)); !errors.Is(err, ErrForged) {
		t.Errorf("another path: %v", err)
	}
}

func TestBrokenFiles(t *testing.T) {
	_, _, stream := newStore(t).export()
	write := func(t *testing.T, data []byte) string {
		file := filepath.Join(t.TempDir(), "f")
		if err := Write(file, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
			t.Fatal(err)
		}
		return file
	}
	whole, err := os.ReadFile(write(t, stream))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	if err := os.WriteFile(cut, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"cut off": cut, "text": text, "stream cut off": write(t, stream[:len(stream)/2]), "empty": write(t, nil),
	} {
		if _, err := ReadFile(t.Context(), file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadFile(t.Context(), "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ctx, bytes.NewReader(stream)); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
}

// What cannot be written whole leaves nothing behind.
func TestWriteThatFails(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken")
	if err := Write(filepath.Join(dir, "f"), func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x0d\x00\x00\x00\x00\x00\x00\x00nix-archive-1\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		paths, err := Check(t.Context(), bytes.NewReader(data))
		if err == nil && len(paths) > 0 {
			t.Logf("a stream with %d honest objects", len(paths))
		}
	})
}
