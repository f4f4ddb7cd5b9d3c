package binarycache

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// gorootDir returns the Go distribution: some 200 MB of real files, in real sizes.
func gorootDir(b *testing.B) string {
	b.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skipf("needs GOROOT: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// goroot returns its NAR.
func goroot(b *testing.B) []byte {
	b.Helper()
	return treeNAR(b, gorootDir(b))
}

func benchmarkImport(b *testing.B, stream []byte) {
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		d := openTest(b)
		if _, err := d.Import(b.Context(), bytes.NewReader(stream)); err != nil {
			b.Fatal(err)
		}
	}
}

// One store object of 200 MB.
func BenchmarkImport(b *testing.B) {
	o := testObject{path: testPath("goroot")}
	benchmarkImport(b, append(words(1, goroot(b), exportMagic, o.path, 0, o.deriver, 0), words(0)...))
}

// As many bytes, in objects of 50 kB.
func BenchmarkImportSmall(b *testing.B) {
	nar := goroot(b)
	const size = 50_000
	var stream []byte
	for i := 0; len(nar) > 0; i++ {
		n := min(size, len(nar))
		o := testObject{path: testPath(fmt.Sprintf("part-%d", i)), content: nar[:n]}
		stream = append(stream, o.export()...)
		nar = nar[n:]
	}
	benchmarkImport(b, append(stream, words(0)...))
}

func BenchmarkReadExport(b *testing.B) {
	stream := append(words(1, goroot(b), exportMagic, testPath("goroot"), 0, "", 0), words(0)...)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if err := ReadExport(bytes.NewReader(stream), io.Discard, func(Object) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	stream := append(words(1, goroot(b), exportMagic, testPath("goroot"), 0, "", 0), words(0)...)
	d := openTest(b)
	mustImport(b, d, stream)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if err := d.Verify(b.Context(), []nix.StorePath{testPath("goroot")}); err != nil {
			b.Fatal(err)
		}
	}
}
