// Package project describes what is released: a flake, and all settings that belong to it. It reads them from a file.
package project

import (
	"encoding"
	"fmt"
	"strconv"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Project is a flake with its settings. The flags of the command line override them, and most have the names of the keys.
type Project struct {
	Flake    string           `toml:"flake"`
	Packages []matrix.Package `toml:"packages"`
	// Substituters are the caches that Nix fetches from. TrustedKeys are the keys that it trusts, as in nix.conf.
	Substituters []string `toml:"substituters"`
	TrustedKeys  []string `toml:"trusted-keys"`
	// ServedBy is the URL of the cache that consumers use. Outputs that it has are not built.
	ServedBy string `toml:"served-by"`
	// Cachix is the name of the Cachix cache that is pushed to; empty for none.
	Cachix string `toml:"cachix"`
	// SecretEnv is the name of the variable with the auth token or the signing key of that cache.
	SecretEnv string `toml:"secret-env"`
	// Memlock is how much memory the packages' tests lock.
	Memlock Size `toml:"memlock"`
	// ContractFile has the requirements of the flake, Contract what was read from it. Parse does not read it.
	ContractFile string             `toml:"contract-file"`
	Contract     *contract.Contract `toml:"-"`
}

// Parse parses a project file.
func Parse(file string, data []byte) (*Project, error) {
	p := &Project{}
	if err := tomlfile.Decode("project", file, data, p); err != nil {
		return nil, err
	}
	for _, name := range p.Packages {
		if _, err := matrix.ParsePackage(string(name)); err != nil {
			return nil, fmt.Errorf("parse project %s: %w", file, err)
		}
	}
	return p, nil
}

// Size is a number of bytes.
type Size int64

var _ encoding.TextUnmarshaler = new(Size)

// ParseSize parses a size such as 256M: K, M and G are powers of 1024.
func ParseSize(s string) (Size, error) {
	if s == "" {
		return 0, fmt.Errorf("parse size: it is empty")
	}
	shift := map[byte]uint{'K': 10, 'M': 20, 'G': 30}[s[len(s)-1]]
	digits := s
	if shift > 0 {
		digits = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("parse size %q: want a number, or a number with K, M or G", s)
	}
	return Size(n << shift), nil
}

// UnmarshalText parses a size.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}
