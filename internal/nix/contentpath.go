package nix

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"zombiezen.com/go/nix"
	"zombiezen.com/go/nix/nixbase32"
)

// The store paths of content-addressed objects: the path depends on the contents.
// See https://nix.dev/manual/nix/latest/protocols/store-path.

// TextPath returns the path of a file that Nix itself writes, such as a derivation. Sum is the SHA-256 of its text.
func TextPath(name string, sum [sha256.Size]byte, references []StorePath) StorePath {
	kind := "text"
	for _, ref := range SortedPaths(references) {
		kind += ":" + string(ref)
	}
	return contentPath(kind, sum, name)
}

// SourcePath returns the store path of a source tree by its NAR hash ("sha256-…="). Its name is "source".
func SourcePath(narHash string) (StorePath, error) {
	h, err := nix.ParseHash(narHash)
	if err != nil {
		return "", fmt.Errorf("find source path: %v", err)
	}
	if h.Type() != nix.SHA256 {
		return "", fmt.Errorf("find source path: %s is not SHA-256", narHash)
	}
	return contentPath("source", [sha256.Size]byte(h.Bytes(nil)), "source"), nil
}

func contentPath(kind string, content [sha256.Size]byte, name string) StorePath {
	sum := sha256.Sum256([]byte(kind + ":sha256:" + hex.EncodeToString(content[:]) + ":" + string(StoreDir) + ":" + name))
	digest := make([]byte, 20)
	nix.CompressHash(digest, sum[:])
	return StorePath(string(StoreDir) + "/" + nixbase32.EncodeToString(digest) + "-" + name)
}
