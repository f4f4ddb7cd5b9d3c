package nix

import (
	"crypto/sha256"
	"encoding/hex"

	"zombiezen.com/go/nix"
	"zombiezen.com/go/nix/nixbase32"
)

// The store paths of objects that bear the hash of their contents in their names: nobody can give them other contents.
// See https://nix.dev/manual/nix/latest/protocols/store-path.

// TextPath is the path of a file that Nix has written itself, such as a derivation. Sum is the SHA-256 of its text.
func TextPath(name string, sum [sha256.Size]byte, references []StorePath) StorePath {
	return contentPath("text"+joinReferences(references), sum, name)
}

// TreePath is the path of a tree or file that was added to the store. Sum is the SHA-256 of its NAR.
func TreePath(name string, sum [sha256.Size]byte, references []StorePath) StorePath {
	// An object that refers to itself has a hash of its own kind; no source does.
	return contentPath("source"+joinReferences(references), sum, name)
}

// FilePath is the path of a file that was added to the store by the SHA-256 of its contents alone.
func FilePath(name string, sum [sha256.Size]byte) StorePath {
	inner := sha256.Sum256([]byte("fixed:out:sha256:" + hex.EncodeToString(sum[:]) + ":"))
	return contentPath("output:out", inner, name)
}

func joinReferences(references []StorePath) (text string) {
	for _, ref := range SortedPaths(references) {
		text += ":" + string(ref)
	}
	return text
}

func contentPath(kind string, content [sha256.Size]byte, name string) StorePath {
	sum := sha256.Sum256([]byte(kind + ":sha256:" + hex.EncodeToString(content[:]) + ":" + string(StoreDir) + ":" + name))
	digest := make([]byte, 20)
	nix.CompressHash(digest, sum[:])
	return StorePath(string(StoreDir) + "/" + nixbase32.EncodeToString(digest) + "-" + name)
}
