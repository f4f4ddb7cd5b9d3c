// Package nartest makes archives and export streams for tests. It shares no code with package nar.
package nartest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// The beginning of a NAR, and the number between a NAR and its metadata in an export stream.
const (
	Magic       = "nix-archive-1"
	ExportMagic = 0x4558494e
)

// Object is a store object that is one file.
type Object struct {
	Path    nix.StorePath
	Content []byte
	Refs    []nix.StorePath
	Deriver nix.StorePath
}

// Path returns a store path with a name.
func Path(name string) nix.StorePath {
	sum := sha256.Sum256([]byte(name))
	return nix.StorePath("/nix/store/" + nixbase32.EncodeToString(sum[:20]) + "-" + name)
}

// RandomObject returns an object of n bytes, half of which can be compressed.
func RandomObject(name string, n int, refs ...nix.StorePath) Object {
	random := rand.NewChaCha8(sha256.Sum256([]byte(name)))
	content := make([]byte, n)
	_, _ = random.Read(content[:n/2])
	return Object{Path: Path(name), Content: content, Refs: refs}
}

// Words serialises integers, strings and store paths like Nix. Bytes are appended unchanged.
func Words(values ...any) []byte {
	var out []byte
	for _, v := range values {
		switch v := v.(type) {
		case int:
			out = binary.LittleEndian.AppendUint64(out, uint64(v))
		case uint64:
			out = binary.LittleEndian.AppendUint64(out, v)
		case nix.StorePath:
			out = append(out, Words(string(v))...)
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

// File returns the NAR of a file.
func File(content []byte) []byte {
	return Words(Magic, "(", "type", "regular", "contents", string(content), ")")
}

// NAR returns the object's NAR.
func (o Object) NAR() []byte { return File(o.Content) }

// Export returns the part of an export stream with the object.
func (o Object) Export() []byte {
	out := Words(1, o.NAR(), ExportMagic, o.Path, len(o.Refs))
	for _, ref := range o.Refs {
		out = append(out, Words(ref)...)
	}
	return append(out, Words(o.Deriver, 0)...)
}

// Export returns the stream that nix-store --export writes for the objects.
func Export(objects ...Object) []byte {
	var out []byte
	for _, o := range objects {
		out = append(out, o.Export()...)
	}
	return append(out, Words(0)...)
}

// GOROOT returns the directory of the Go distribution, with some 200 MB of real files.
func GOROOT(b *testing.B) string {
	b.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skipf("needs GOROOT: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// RunNix runs a program of Nix and returns its output. Without Nix, it skips the test.
func RunNix(t testing.TB, program string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs Nix: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "NIX_CONFIG="+nix.Settings{
		"experimental-features": "nix-command flakes",
		"build-users-group":     "",
		"substituters":          "",
		"sandbox":               "true",
		"sandbox-paths":         "/bin /lib /lib64 /usr", // for the builder /bin/sh
	}.Config())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// OddTree makes a tree with all kinds of files and names that a NAR can have.
func OddTree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	files := map[string]os.FileMode{
		"empty": 0o644, "..data": 0o644, "...": 0o600, "+": 0o644, "a": 0o755, "A": 0o444,
		"a.b": 0o644, "a-b": 0o644, "group-x": 0o654, "other-x": 0o645, "only-x": 0o500,
		"\xff\xfe": 0o644, "käse": 0o644, "sub/a": 0o644, "sub/deeper/file": 0o644, "a b\nc": 0o644,
	}
	for name, mode := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		content := strings.Repeat(name, len(name))
		if name == "empty" {
			content = ""
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "void"), 0o755),
		os.Symlink("nowhere", filepath.Join(dir, "dangling")),
		os.Symlink("sub", filepath.Join(dir, "to-dir")),
		os.WriteFile(filepath.Join(dir, "big"), bytes.Repeat([]byte("0123456789"), 70_001), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
