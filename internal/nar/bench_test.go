package nar

import (
	"bytes"
	"io"
	"os/exec"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
)

func BenchmarkDumpTree(b *testing.B) {
	tree := nartest.GOROOT(b)
	_, size, err := HashTree(b.Context(), tree)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("here", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if err := DumpTree(b.Context(), io.Discard, tree); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nix-store", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if err := exec.CommandContext(b.Context(), "nix-store", "--dump", tree).Run(); err != nil {
				b.Skipf("needs Nix: %v", err)
			}
		}
	})
}

func BenchmarkReadExport(b *testing.B) {
	var tree bytes.Buffer
	if err := DumpTree(b.Context(), &tree, nartest.GOROOT(b)); err != nil {
		b.Fatal(err)
	}
	stream := append(nartest.Words(1, tree.Bytes(), nartest.ExportMagic, nartest.Path("goroot"), 0, "", 0), nartest.Words(0)...)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if err := ReadExport(bytes.NewReader(stream), CopyTo(io.Discard), func(Object) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
