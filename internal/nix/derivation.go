package nix

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Derivation has the outputs of a store derivation.
type Derivation struct {
	// Outputs are their paths, in order; none for an output whose path depends on its contents.
	Outputs []StorePath
	// Fixed says that it is a fixed-output derivation: its one output has a known hash, and its builder may use the network.
	Fixed bool
}

// DerivationArgs returns the arguments of nix that print what [ParseDerivations] parses.
func DerivationArgs(v Version) []string {
	if v.AtLeast(2, 15) {
		return []string{"derivation", "show"}
	}
	return []string{"show-derivation"}
}

type derivationJSON struct {
	Outputs map[string]struct {
		Path string          `json:"path"`
		Hash json.RawMessage `json:"hash"`
	} `json:"outputs"`
	Env map[string]json.RawMessage `json:"env"`
}

// ParseDerivations parses the output of nix derivation show: an object by path up to Nix 2.31. Newer versions have the
// object in a field "derivations", and paths without the store's directory.
func ParseDerivations(data []byte) (map[StorePath]Derivation, error) {
	all, err := decodeByPath[derivationJSON](data, "derivations")
	if err != nil {
		return nil, fmt.Errorf("parse derivations: %v", err)
	}
	found := make(map[StorePath]Derivation, len(all))
	for name, d := range all {
		path, err := parseAnyPath(name)
		if err != nil {
			return nil, fmt.Errorf("parse derivations: %v", err)
		}
		var parsed Derivation
		for name, o := range d.Outputs {
			parsed.Fixed = parsed.Fixed || len(o.Hash) > 0 // no other output has a hash
			if o.Path == "" {
				// Newer versions have the path of a fixed output only in the builder's environment.
				_ = json.Unmarshal(d.Env[name], &o.Path)
			}
			if output, err := parseAnyPath(o.Path); err == nil {
				parsed.Outputs = append(parsed.Outputs, output)
			}
		}
		slices.Sort(parsed.Outputs)
		found[path] = parsed
	}
	return found, nil
}
