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
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// store is a Nix store of the test.
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

// instantiate makes a derivation that has another one and a source as inputs.
func (s store) instantiate() (drvs []string, source string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "source")
	if err := os.WriteFile(file, []byte("a source\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	const expression = `{ file }: derivation {
		name = "root"; system = "x86_64-linux"; builder = "/bin/sh"; source = "${file}";
		input = derivation { name = "input"; system = "x86_64-linux"; builder = "/bin/sh"; };
	}`
	root := strings.TrimSpace(string(s.run("nix-instantiate", "-E", expression, "--arg", "file", file)))
	for _, path := range strings.Fields(string(s.run("nix-store", "--query", "--requisites", root))) {
		if strings.HasSuffix(path, ".drv") {
			drvs = append(drvs, path)
		} else {
			source = path
		}
	}
	return drvs, source
}

func (s store) export(paths ...string) []byte {
	return s.run(append([]string{"nix-store", "--export"}, paths...)...)
}

// ReadFile returns the texts that the store has, and refuses other objects.
func TestReadExportOfNix(t *testing.T) {
	s := newStore(t)
	drvs, source := s.instantiate()
	file := File(regular.NewDir(t.TempDir()).Sub("out"), "x86_64-linux")
	write := func(data []byte) {
		t.Helper()
		if err := Write(file, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
			t.Fatal(err)
		}
	}
	write(s.export(drvs...))
	texts, err := ReadFile(t.Context(), file)
	if err != nil || len(texts) != 2 {
		t.Fatalf("%d derivations, %v", len(texts), err)
	}
	for _, drv := range drvs {
		want, err := os.ReadFile(filepath.Join(s.root, drv))
		if err != nil || !bytes.Equal(texts[nix.StorePath(drv)], want) {
			t.Errorf("%s is %q, want %q (%v)", drv, texts[nix.StorePath(drv)], want, err)
		}
	}
	write(s.export(source))
	if _, err := ReadFile(t.Context(), file); err == nil || !strings.Contains(err.Error(), source+" is not a derivation") {
		t.Errorf("a source: %v", err)
	}
}

func TestBrokenFiles(t *testing.T) {
	s := newStore(t)
	drvs, _ := s.instantiate()
	stream := s.export(drvs...)
	write := func(t *testing.T, data []byte) string {
		file := filepath.Join(t.TempDir(), "f")
		if err := Write(regular.AnyFile(file), func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
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
		if _, err := ReadFile(t.Context(), regular.AnyFile(file)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadFile(t.Context(), regular.AnyFile("nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readTexts(ctx, bytes.NewReader(stream)); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
}

// A failed write leaves no file.
func TestWriteThatFails(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken")
	if err := Write(regular.AnyFile(filepath.Join(dir, "f")), func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func FuzzReadTexts(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x0d\x00\x00\x00\x00\x00\x00\x00nix-archive-1\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		texts, err := readTexts(t.Context(), bytes.NewReader(data))
		for path := range texts {
			if err == nil && !path.IsDerivation() {
				t.Errorf("%s counts as a derivation", path)
			}
		}
	})
}
