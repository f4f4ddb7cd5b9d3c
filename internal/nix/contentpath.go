package nix

import (
	"crypto/sha256"
	"encoding/hex"

	"zombiezen.com/go/nix"
	"zombiezen.com/go/nix/nixbase32"
)

// The store paths of objects whose names contain the hash of their contents: other contents have another path.
// See https://nix.dev/manual/nix/latest/protocols/store-path.

// TextPath returns the path of a file that Nix itself writes, such as a derivation. Sum is the SHA-256 of its text.
func TextPath(name string, sum [sha256.Size]byte, references []StorePath) StorePath {
	kind := "text"
	for _, ref := range SortedPaths(references) {
		kind += ":" + string(ref)
	}
	return contentPath(kind, sum, name)
}

func contentPath(kind string, content [sha256.Size]byte, name string) StorePath {
	sum := sha256.Sum256([]byte(kind + ":sha256:" + hex.EncodeToString(content[:]) + ":" + string(StoreDir) + ":" + name))
	digest := make([]byte, 20)
	nix.CompressHash(digest, sum[:])
	return StorePath(string(StoreDir) + "/" + nixbase32.EncodeToString(digest) + "-" + name)
}
