package cachixtest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	gonix "zombiezen.com/go/nix"
	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// unknownDeriver is sent by the client if there is no deriver.
const unknownDeriver = "unknown-deriver"

// fields is a JSON object with exactly the expected fields. Decoding into a struct would accept a name in another case, and
// ignore a missing field.
type fields map[string]json.RawMessage

func decodeFields(data []byte, names ...string) (fields, error) {
	var f fields
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("not a JSON object: %v", err)
	}
	for name := range f {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("unknown field %s", name)
		}
	}
	for _, name := range names {
		if _, ok := f[name]; !ok {
			return nil, fmt.Errorf("field %s is missing", name)
		}
	}
	return f, nil
}

// decode decodes one field. Null is a value only for a pointer.
func (f fields) decode(name string, to any) error {
	_, optional := to.(**string)
	if string(f[name]) == "null" && !optional {
		return fmt.Errorf("field %s is null", name)
	}
	if err := json.Unmarshal(f[name], to); err != nil {
		return fmt.Errorf("field %s: %v", name, err)
	}
	return nil
}

func decodeHashes(body []byte) ([]string, error) {
	var hashes []string
	if err := json.Unmarshal(body, &hashes); err != nil || hashes == nil {
		return nil, fmt.Errorf("not a JSON array of hashes: %v", err)
	}
	if len(hashes) > maxHashes {
		return nil, fmt.Errorf("%d hashes, at most %d are taken", len(hashes), maxHashes)
	}
	for _, hash := range hashes {
		if err := checkHashPart(hash); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// checkHashPart checks the part of a store path before the dash.
func checkHashPart(hash string) error {
	if len(hash) != 32 || nixbase32.ValidateString(hash) != nil {
		return fmt.Errorf("%q is no hash part of a store path", hash)
	}
	return nil
}

// parseBase parses the base name of a store path, by the rules of Nix.
func parseBase(base string) (nix.StorePath, error) {
	path, err := nix.ParseStorePath(string(nix.StoreDir) + "/" + base)
	if err != nil {
		return "", err
	}
	name := path.Name()
	// The parser has cleaned the path.
	if path.Base() != base || name == "." || name == ".." || strings.HasPrefix(name, ".-") || strings.HasPrefix(name, "..-") {
		return "", fmt.Errorf("%q is no base name of a store path", base)
	}
	return path, nil
}

// completion is the body of complete.
type completion struct {
	parts []completedPart
	info  *gonix.NARInfo // without URL, Compression and Sig
	// deriver and signature as the client has sent them
	deriver string
	cSig    *string
}

type completedPart struct {
	number int
	eTag   string
}

func decodeCompletion(body []byte) (*completion, error) {
	f, err := decodeFields(body, "parts", "narInfoCreate")
	if err != nil {
		return nil, err
	}
	c := &completion{}
	var parts []json.RawMessage
	if err := f.decode("parts", &parts); err != nil {
		return nil, err
	}
	for i, data := range parts {
		p, err := decodeCompletedPart(data)
		if err != nil {
			return nil, fmt.Errorf("parts[%d]: %v", i, err)
		}
		c.parts = append(c.parts, p)
	}
	if err := c.decodeNARInfo(f["narInfoCreate"]); err != nil {
		return nil, fmt.Errorf("narInfoCreate: %v", err)
	}
	return c, nil
}

func decodeCompletedPart(data []byte) (p completedPart, err error) {
	f, err := decodeFields(data, "partNumber", "eTag")
	if err == nil {
		err = f.decode("partNumber", &p.number)
	}
	if err == nil {
		err = f.decode("eTag", &p.eTag)
	}
	return p, err
}

// decodeNARInfo decodes the description of the path. Each hash, name and key has another form.
func (c *completion) decodeNARInfo(data []byte) error {
	var hash, suffix, narHash, fileHash string
	var references []string
	info := &gonix.NARInfo{}
	into := map[string]any{
		"cStoreHash": &hash, "cStoreSuffix": &suffix, "cNarHash": &narHash, "cNarSize": &info.NARSize,
		"cFileHash": &fileHash, "cFileSize": &info.FileSize, "cReferences": &references,
		"cDeriver": &c.deriver, "cSig": &c.cSig,
	}
	names := slices.Sorted(maps.Keys(into))
	f, err := decodeFields(data, names...)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := f.decode(name, into[name]); err != nil {
			return err
		}
	}

	if err := checkHashPart(hash); err != nil {
		return fmt.Errorf("cStoreHash: %v", err)
	}
	if info.StorePath, err = parseBase(hash + "-" + suffix); err != nil {
		return fmt.Errorf("cStoreSuffix: %v", err)
	}
	if info.NARHash, err = nix.ParseHash(narHash); err != nil || info.NARHash.Base32() != narHash {
		return fmt.Errorf("cNarHash is %q, want sha256: and 52 characters of Nix's base 32", narHash)
	}
	sum, err := hex.DecodeString(fileHash)
	if err != nil || len(sum) != 32 || hex.EncodeToString(sum) != fileHash {
		return fmt.Errorf("cFileHash is %q, want 64 lower-case hexadecimal digits", fileHash)
	}
	info.FileHash = gonix.NewHash(gonix.SHA256, sum)
	if info.NARSize <= 0 || info.FileSize <= 0 {
		return fmt.Errorf("cNarSize is %d, cFileSize %d: want more than nothing", info.NARSize, info.FileSize)
	}
	if info.References, err = parseReferences(references); err != nil {
		return fmt.Errorf("cReferences: %v", err)
	}
	c.info = info
	return c.checkTail()
}

func parseReferences(bases []string) ([]nix.StorePath, error) {
	var references []nix.StorePath
	for i, base := range bases {
		path, err := parseBase(base)
		if err != nil {
			return nil, err
		}
		if i > 0 && bases[i-1] >= base {
			return nil, fmt.Errorf("%s after %s: not sorted, or twice", base, bases[i-1])
		}
		references = append(references, path)
	}
	return references, nil
}

// checkTail checks the optional fields.
func (c *completion) checkTail() error {
	if c.deriver != unknownDeriver {
		deriver, err := parseBase(c.deriver)
		if err != nil || !deriver.IsDerivation() {
			return fmt.Errorf("cDeriver is %q, want the base name of a derivation, or %s", c.deriver, unknownDeriver)
		}
		c.info.Deriver = deriver
	}
	if c.cSig != nil {
		if _, err := decodeBase64(*c.cSig, 64); err != nil {
			return fmt.Errorf("cSig is %q, want base64 of 64 bytes without the name of a key", *c.cSig)
		}
	}
	return nil
}

// decodeBase64 decodes the canonical form of n bytes. The library ignores line breaks, even in strict mode.
func decodeBase64(text string, size int) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(data) != size || base64.StdEncoding.EncodeToString(data) != text {
		return nil, fmt.Errorf("%q is not base64 of %d bytes", text, size)
	}
	return data, nil
}
