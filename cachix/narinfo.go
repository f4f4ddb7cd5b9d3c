package cachix

import (
	"encoding/hex"
	"path"
	"slices"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// narInfoCreate is the content of the narinfo for a completed upload. Each field has its own encoding.
// The server adds the name of the signing key. There is no field for a content address.
type narInfoCreate struct {
	StoreHash   string   `json:"cStoreHash"`   // the digest in the store path
	StoreSuffix string   `json:"cStoreSuffix"` // the name after it
	NARHash     string   `json:"cNarHash"`     // sha256: and base 32
	NARSize     int64    `json:"cNarSize"`
	FileHash    string   `json:"cFileHash"` // hexadecimal, with no algorithm before it
	FileSize    int64    `json:"cFileSize"`
	References  []string `json:"cReferences"` // base names, in order
	Deriver     string   `json:"cDeriver"`    // a base name
	Signature   *string  `json:"cSig"`        // bare base64; null where the cache signs
}

// unknownDeriver is sent if there is no deriver.
const unknownDeriver = "unknown-deriver"

// newNARInfo describes an object whose NAR was compressed. It signs the object if the credential has a signing key.
func (c *Client) newNARInfo(info nix.PathInfo, packed nar.Compressed) (narInfoCreate, error) {
	create := narInfoCreate{
		StoreHash: info.Path.Digest(), StoreSuffix: info.Path.Name(),
		NARHash: "sha256:" + packed.NARHash.RawBase32(), NARSize: packed.NARSize,
		FileHash: hex.EncodeToString(packed.FileHash.Bytes(nil)), FileSize: packed.FileSize,
		References: []string{}, Deriver: unknownDeriver,
	}
	references := nix.SortedPaths(info.References)
	for _, r := range references {
		create.References = append(create.References, path.Base(string(r)))
	}
	if info.Deriver.IsDerivation() {
		create.Deriver = path.Base(string(info.Deriver))
	}
	if c.credential.key() == nil {
		return create, nil
	}
	// The URL is not signed, but must not be empty.
	signature, err := c.credential.sign(&gonix.NARInfo{
		StorePath: info.Path, URL: "nar", NARHash: packed.NARHash, NARSize: packed.NARSize, References: slices.Clip(references),
	})
	create.Signature = &signature
	return create, err
}
