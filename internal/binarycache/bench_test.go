package binarycache

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// goroot returns the NAR of GOROOT.
func goroot(b *testing.B) []byte {
	b.Helper()
	return treeNAR(b, nartest.GOROOT(b))
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
	o := nartest.Object{Path: nartest.Path("goroot")}
	benchmarkImport(b, append(nartest.Words(1, goroot(b), nartest.ExportMagic, o.Path, 0, o.Deriver, 0), nartest.Words(0)...))
}

// The same number of bytes, in objects of 50 kB.
func BenchmarkImportSmall(b *testing.B) {
	nar := goroot(b)
	const size = 50_000
	var stream []byte
	for i := 0; len(nar) > 0; i++ {
		n := min(size, len(nar))
		o := nartest.Object{Path: nartest.Path(fmt.Sprintf("part-%d", i)), Content: nar[:n]}
		stream = append(stream, o.Export()...)
		nar = nar[n:]
	}
	benchmarkImport(b, append(stream, nartest.Words(0)...))
}

func BenchmarkVerify(b *testing.B) {
	stream := append(nartest.Words(1, goroot(b), nartest.ExportMagic, nartest.Path("goroot"), 0, "", 0), nartest.Words(0)...)
	d := openTest(b)
	mustImport(b, d, stream)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if err := verify(b.Context(), d, []nix.StorePath{nartest.Path("goroot")}); err != nil {
			b.Fatal(err)
		}
	}
}
