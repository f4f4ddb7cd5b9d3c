package nix

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/nix"
)

// PathInfo is the metadata of an object in a store.
type PathInfo struct {
	Path       StorePath
	NARHash    Hash
	NARSize    int64 // bytes
	References []StorePath
	Deriver    StorePath // empty if it is not known
	// Signatures are in the form "key:base64".
	Signatures []string
	// Ultimate says that this store built the object itself.
	Ultimate bool
}

// pathInfoJSON has the fields of all forms of nix path-info --json.
type pathInfoJSON struct {
	Path       string          `json:"path"`
	Valid      *bool           `json:"valid"`
	NARHash    json.RawMessage `json:"narHash"`
	NARSize    int64           `json:"narSize"`
	References []string        `json:"references"`
	Deriver    *string         `json:"deriver"`
	Signatures []any           `json:"signatures"`
	Ultimate   bool            `json:"ultimate"`
}

// PathInfoArgs returns the arguments of nix that print what [ParsePathInfo] parses.
func PathInfoArgs(v Version) []string {
	args := []string{"path-info", "--json"}
	if v.AtLeast(2, 33) {
		args = append(args, "--json-format", "1") // --json without it is deprecated and will become an error
	}
	return args
}

// ParsePathInfo parses the output of nix path-info --json: an array up to Nix 2.18, an object by path since 2.19, an object
// with "info", base names for paths and structured hashes since 2.33. It leaves out invalid objects and sorts by path.
func ParsePathInfo(data []byte) ([]PathInfo, error) {
	entries, err := pathInfoEntries(data)
	if err != nil {
		return nil, fmt.Errorf("parse path info: %v", err)
	}
	var infos []PathInfo
	for path, e := range entries {
		if e == nil || e.Valid != nil && !*e.Valid {
			continue
		}
		info, err := e.parse(path)
		if err != nil {
			return nil, fmt.Errorf("parse path info of %s: %v", path, err)
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b PathInfo) int { return strings.Compare(string(a.Path), string(b.Path)) })
	return infos, nil
}

func pathInfoEntries(data []byte) (map[string]*pathInfoJSON, error) {
	var list []*pathInfoJSON
	if err := json.Unmarshal(data, &list); err == nil {
		byPath := make(map[string]*pathInfoJSON, len(list))
		for _, e := range list {
			byPath[e.Path] = e
		}
		return byPath, nil
	}
	return decodeByPath[*pathInfoJSON](data, "info")
}

// decodeByPath decodes an object by store path. Newer versions of Nix have this object in a field.
func decodeByPath[T any](data []byte, field string) (map[string]T, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	if inner, ok := fields[field]; ok {
		data = inner
	}
	var byPath map[string]T
	err := json.Unmarshal(data, &byPath)
	return byPath, err
}

func (e *pathInfoJSON) parse(path string) (info PathInfo, err error) {
	if info.Path, err = parseAnyPath(path); err != nil {
		return info, err
	}
	if info.NARHash, err = parseAnyHash(e.NARHash); err != nil {
		return info, err
	}
	for _, r := range e.References {
		ref, err := parseAnyPath(r)
		if err != nil {
			return info, err
		}
		info.References = append(info.References, ref)
	}
	if e.Deriver != nil && *e.Deriver != "" {
		if info.Deriver, err = parseAnyPath(*e.Deriver); err != nil {
			return info, err
		}
	}
	for _, s := range e.Signatures {
		if s, ok := s.(string); ok {
			info.Signatures = append(info.Signatures, s)
		}
	}
	info.NARSize, info.Ultimate = e.NARSize, e.Ultimate
	return info, nil
}

// parseAnyHash parses a hash that is a string, or an object with algorithm and hash.
func parseAnyHash(data json.RawMessage) (Hash, error) {
	var text string
	if err := json.Unmarshal(data, &text); err == nil {
		return nix.ParseHash(text)
	}
	var structured struct {
		Algorithm string `json:"algorithm"`
		Hash      string `json:"hash"`
	}
	if err := json.Unmarshal(data, &structured); err != nil {
		return Hash{}, err
	}
	if strings.HasPrefix(structured.Hash, structured.Algorithm+"-") {
		return nix.ParseHash(structured.Hash)
	}
	return nix.ParseHash(structured.Algorithm + "-" + structured.Hash)
}

// Closure returns those of infos that the roots reach by references, roots included, in the order of infos.
func Closure(infos []PathInfo, roots ...StorePath) []PathInfo {
	byPath := make(map[StorePath]*PathInfo, len(infos))
	for i := range infos {
		byPath[infos[i].Path] = &infos[i]
	}
	reached := make(map[StorePath]bool)
	for stack := roots; len(stack) > 0; {
		path := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		info := byPath[path]
		if info == nil || reached[path] {
			continue
		}
		reached[path] = true
		stack = append(slices.Clip(stack), info.References...)
	}
	var closure []PathInfo
	for _, info := range infos {
		if reached[info.Path] {
			closure = append(closure, info)
		}
	}
	return closure
}

// Walk calls visit with the roots, and then with the references that it returns, level by level. It visits each path once.
func Walk(roots []StorePath, visit func(level []StorePath) (references []StorePath, err error)) error {
	seen := make(map[StorePath]bool)
	for next := roots; ; {
		var level []StorePath
		for _, path := range next {
			if !seen[path] {
				seen[path] = true
				level = append(level, path)
			}
		}
		if len(level) == 0 {
			return nil
		}
		var err error
		if next, err = visit(level); err != nil {
			return err
		}
	}
}
