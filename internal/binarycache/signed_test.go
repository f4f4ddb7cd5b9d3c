package binarycache

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// What a cache has without a trusted signature counts as not there, whatever its narinfo says.
func TestSignedCountsWhatATrustedKeyHasSigned(t *testing.T) {
	key := func(name string) (*gonix.PublicKey, *gonix.PrivateKey) {
		public, private, err := gonix.GenerateKey(name, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return public, private
	}
	trusted, ours := key("ours-1")
	_, other := key("ours-1") // the same name, and another key
	signed, forged, unsigned, altered := randomObject("signed", 100), randomObject("forged", 100), randomObject("unsigned", 100), randomObject("altered", 100)
	d := openTest(t)
	for object, signer := range map[*testObject]*gonix.PrivateKey{&signed: ours, &forged: other, &unsigned: nil, &altered: ours} {
		d.Signer = signer
		mustImport(t, d, exportOf(*object))
	}
	file := d.file(infoName(altered.path))
	write(t, file, strings.Replace(readFile(t, file), "References: ", "References: "+signed.path.Base(), 1))

	var warned []string
	s := Signed{Cache: d, Keys: []*gonix.PublicKey{trusted}, Warn: func(text string) { warned = append(warned, text) }}
	paths := []nix.StorePath{signed.path, forged.path, unsigned.path, altered.path, testPath("absent")}
	missing, err := s.Missing(t.Context(), paths)
	if err != nil || !slices.Equal(missing, paths[1:]) {
		t.Errorf("missing are %v, %v; want %v", missing, err, paths[1:])
	}
	if len(warned) != 3 {
		t.Errorf("warnings %q", warned)
	}
	if infos, err := s.Infos(t.Context(), paths); err != nil || len(infos) != 1 {
		t.Errorf("infos %v, %v", infos, err)
	}
}
