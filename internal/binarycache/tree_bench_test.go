package binarycache

import (
	"io"
	"os/exec"
	"runtime"
	"testing"
)

func BenchmarkDumpTree(b *testing.B) {
	_, size, err := HashTree(runtime.GOROOT())
	if err != nil {
		b.Skipf("needs GOROOT: %v", err)
	}
	b.SetBytes(size)
	b.Run("here", func(b *testing.B) {
		for b.Loop() {
			if err := DumpTree(b.Context(), io.Discard, runtime.GOROOT()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nix-store", func(b *testing.B) {
		for b.Loop() {
			if err := exec.CommandContext(b.Context(), "nix-store", "--dump", runtime.GOROOT()).Run(); err != nil {
				b.Skipf("needs Nix: %v", err)
			}
		}
	})
}
