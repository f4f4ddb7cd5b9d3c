package nix

import (
	"bytes"
	"errors"
	"fmt"

	"zombiezen.com/go/nix"
)

// required are the fields that every narinfo has. References is required even if it is empty, so that a truncated file does
// not count as one without references.
var required = []string{"StorePath", "URL", "Compression", "NarHash", "NarSize", "References"}

// ParseNARInfo parses a narinfo as Nix or Cachix writes it. A truncated one, and one with another store directory or kind
// of hash, is an error.
func ParseNARInfo(data []byte) (*NARInfo, error) {
	if !bytes.HasSuffix(data, []byte("\n")) {
		return nil, errors.New("parse narinfo: it does not end with a line break")
	}
	for _, name := range required {
		if !bytes.Contains(append([]byte("\n"), data...), []byte("\n"+name+":")) {
			return nil, fmt.Errorf("parse narinfo: it has no field %s", name)
		}
	}
	// Cachix writes this word if there is no deriver. The parser refuses it, because it is not a store path.
	data = bytes.Replace(data, []byte("\nDeriver: unknown-deriver\n"), []byte("\n"), 1)
	info := new(NARInfo)
	if err := info.UnmarshalText(data); err != nil {
		return nil, fmt.Errorf("parse narinfo: %v", err)
	}
	if dir := info.StoreDirectory(); dir != StoreDir {
		return nil, fmt.Errorf("parse narinfo: %s is not in %s", info.StorePath, StoreDir)
	}
	if typ := info.NARHash.Type(); typ != nix.SHA256 {
		return nil, fmt.Errorf("parse narinfo: NarHash is of type %v, not sha256", typ)
	}
	return info, nil
}

// FormatNARInfo returns the text of a narinfo, with the field References even if it is empty.
func FormatNARInfo(info *NARInfo) ([]byte, error) {
	text, err := info.MarshalText()
	if err != nil || len(info.References) > 0 {
		return text, err
	}
	size := bytes.Index(text, []byte("\nNarSize: ")) + 1
	end := size + bytes.IndexByte(text[size:], '\n') + 1
	return append(text[:end:end], append([]byte("References: \n"), text[end:]...)...), nil
}

// Added is a store object that was added to a binary cache.
type Added struct {
	Path     StorePath
	NARSize  int64 // bytes before compression
	FileSize int64 // bytes after compression
}
