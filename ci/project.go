package main

import (
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// target is what is released: a flake, and all that is particular to it.
// Another flake is served by giving flags in the place of its fields.
type target struct {
	flake    string
	packages []matrix.Package
	// substituters are the caches that Nix fetches from, and keys those that it trusts, as in nix.conf.
	substituters []string
	keys         []string
	// cache is the public side of the cache that consumers use: outputs that it serves are not built.
	cache string
	// cachix is the name of the Cachix cache that is pushed to; empty for none.
	cachix string
	// memlock is how much memory the packages' tests lock, in bytes.
	memlock int64
	// contract is what the flake promises.
	contract *contract.Contract
}

const (
	nixosCache = "https://cache.nixos.org"
	nixosKey   = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
)

// openSesame is the default target: https://github.com/ScopeCreep-zip/open-sesame.
var openSesame = target{
	flake:        "github:ScopeCreep-zip/open-sesame",
	packages:     []matrix.Package{"open-sesame", "open-sesame-desktop"},
	substituters: []string{nixosCache, "https://scopecreep-zip.cachix.org"},
	keys: []string{
		nixosKey,
		"scopecreep-zip.cachix.org-1:LPiVDsYXJvgljVfZPN43zBWB7ZCGFr2jZ/lBinnPGvU=",
	},
	cache:  "https://scopecreep-zip.cachix.org",
	cachix: "scopecreep-zip",
	// Its tests lock memory by mlock and memfd_secret.
	memlock:  256 << 20,
	contract: contract.OpenSesame(),
}

// exampleFlake names the flake that is built into this program.
const exampleFlake = "example"

// builtIn has Open Sesame's shape, and needs nothing from any network.
var builtIn = target{
	flake:    exampleFlake,
	packages: openSesame.packages,
	// It meets even the requirements that Open Sesame does not meet yet.
	contract: strictly(*contract.OpenSesame()),
}

// strictly returns a contract that lets no warning pass.
func strictly(c contract.Contract) *contract.Contract {
	c.Strict = true
	return &c
}
