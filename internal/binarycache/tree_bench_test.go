package binarycache

import (
	"io"
	"os/exec"
	"testing"
)

func BenchmarkDumpTree(b *testing.B) {
	tree := gorootDir(b)
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
