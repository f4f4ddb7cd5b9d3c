package binarycache

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// An object without a trusted signature counts as missing.
func TestSignedIgnoresUntrustedSignatures(t *testing.T) {
	key := func(name string) (*gonix.PublicKey, *gonix.PrivateKey) {
		public, private, err := gonix.GenerateKey(name, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return public, private
	}
	trusted, ours := key("ours-1")
	_, other := key("ours-1") // the same name, and another key
	signed, forged, unsigned, altered := nartest.RandomObject("signed", 100), nartest.RandomObject("forged", 100), nartest.RandomObject("unsigned", 100), nartest.RandomObject("altered", 100)
	d := openTest(t)
	for object, signer := range map[*nartest.Object]*gonix.PrivateKey{&signed: ours, &forged: other, &unsigned: nil, &altered: ours} {
		mustImport(t, d, nartest.Export(*object))
		if signer != nil {
			sign(t, d, object.Path, signer)
		}
	}
	file := d.file(infoName(altered.Path))
	write(t, file, strings.Replace(readFile(t, file), "References: ", "References: "+signed.Path.Base(), 1))

	var warned []string
	s := Signed{Cache: d, Keys: []*gonix.PublicKey{trusted}, Warn: func(text string) { warned = append(warned, text) }}
	paths := []nix.StorePath{signed.Path, forged.Path, unsigned.Path, altered.Path, nartest.Path("absent")}
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
