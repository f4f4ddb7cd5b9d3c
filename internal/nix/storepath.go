package nix

import (
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/nix"
)

// StorePath is the absolute path of a store object, such as
// "/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-hello-2.12.1".
type StorePath = nix.StorePath

// Hash is a hash with its algorithm, printed in SRI form ("sha256-…=") by Hash.SRI.
type Hash = nix.Hash

// NARInfo is the metadata of one store object in a binary cache.
type NARInfo = nix.NARInfo

// StoreDir is the only supported store directory. A consumer whose store is in the default directory cannot substitute
// paths of another one.
const StoreDir = nix.DefaultStoreDirectory

// ParseStorePath parses the absolute path of a store object in [StoreDir].
func ParseStorePath(s string) (StorePath, error) {
	p, err := nix.ParseStorePath(s)
	if err != nil {
		return "", err
	}
	if p.Dir() != StoreDir {
		return "", fmt.Errorf("parse store path %s: not in %s", s, StoreDir)
	}
	return p, nil
}

// ParseStorePaths parses one store path a line, as nix-store prints them. It ignores empty lines.
func ParseStorePaths(text string) ([]StorePath, error) {
	var paths []StorePath
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		p, err := ParseStorePath(line)
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// parseAnyPath parses a whole store path, or its base name, as newer versions of Nix print it.
func parseAnyPath(s string) (StorePath, error) {
	if !strings.HasPrefix(s, "/") {
		s = string(StoreDir) + "/" + s
	}
	return ParseStorePath(s)
}

// DerivationName returns the name of the derivation at a path: "hello-2.12.1" of "/nix/store/…-hello-2.12.1.drv".
func DerivationName(path StorePath) string { return strings.TrimSuffix(path.Name(), ".drv") }

// PathSet returns the set of paths.
func PathSet(paths []StorePath) map[StorePath]bool {
	set := make(map[StorePath]bool, len(paths))
	for _, path := range paths {
		set[path] = true
	}
	return set
}

// PathsOf returns the paths of infos.
func PathsOf(infos []PathInfo) []StorePath {
	paths := make([]StorePath, len(infos))
	for i, info := range infos {
		paths[i] = info.Path
	}
	return paths
}

// SortedPaths returns the paths in order, each once. It does not change its argument.
func SortedPaths(paths []StorePath) []StorePath {
	return slices.Compact(slices.Sorted(slices.Values(paths)))
}

// ParseHash parses a SHA-256 hash in any form that fetchers accept: SRI, with the algorithm before it, or without.
func ParseHash(s string) (Hash, error) {
	h, err := nix.ParseHash(s)
	if err != nil && !strings.ContainsAny(s, ":-") {
		h, err = nix.ParseHash("sha256:" + s)
	}
	if err == nil && h.Type() != nix.SHA256 {
		err = fmt.Errorf("parse hash %s: not SHA-256", s)
	}
	return h, err
}

// ParseDrvName is builtins.ParseDrvName of Nix: the version begins after the first dash without a letter behind it.
func ParseDrvName(s string) (name, version string) {
	for i := range len(s) - 1 {
		if s[i] == '-' && !('a' <= s[i+1]|0x20 && s[i+1]|0x20 <= 'z') {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
