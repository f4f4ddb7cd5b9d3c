package outcache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
)

// BenchmarkServed queries a closure of 1000 paths and 256 MiB, like a run in which all is cached: the first time after the
// files have changed, and again.
func BenchmarkServed(b *testing.B) {
	dir, err := binarycache.Open(filepath.Join(b.TempDir(), "cache"))
	if err != nil {
		b.Fatal(err)
	}
	r, err := record.Open(filepath.Join(b.TempDir(), "record"))
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	contents := make([]byte, 256<<10)
	random := rand.NewChaCha8([32]byte{})
	var infos []nix.PathInfo
	var paths []nix.StorePath
	var stream []byte
	for i := range 1000 {
		path := nix.StorePath(fmt.Sprintf("/nix/store/%032d-p", i))
		_, _ = random.Read(contents)
		info, part := object(path, string(contents), paths[max(0, i-10):]...)
		infos, paths, stream = append(infos, info), append(paths, path), append(stream, part...)
	}
	if err := r.Note("run", infos); err != nil {
		b.Fatal(err)
	}
	if _, err := New(dir, r, nil).Import(b.Context(), bytes.NewReader(slices.Concat(stream, wire(0)))); err != nil {
		b.Fatal(err)
	}
	forget := func(o *record.Object) { o.Files = nil }
	for _, again := range []bool{false, true} {
		b.Run(fmt.Sprintf("again=%v", again), func(b *testing.B) {
			for b.Loop() {
				if !again {
					if err := r.Change(paths, forget); err != nil {
						b.Fatal(err)
					}
				}
				if missing, err := New(dir, r, nil).Missing(b.Context(), paths[999:]); err != nil || len(missing) > 0 {
					b.Fatal(missing, err)
				}
			}
		})
	}
}
