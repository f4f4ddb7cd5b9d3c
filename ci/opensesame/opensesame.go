// Package opensesame has the settings of Open Sesame, as data. No other package names it.
package opensesame

import (
	_ "embed"
	"regexp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
)

// Flake is where Open Sesame's flake is.
const Flake = "github:ScopeCreep-zip/open-sesame"

var (
	//go:embed nix-release.toml
	settings []byte
	//go:embed contract.toml
	requirements []byte
)

// flake matches the references of Open Sesame's repository, at any commit.
var flake = regexp.MustCompile(`(?i)^(github:|git\+https://github\.com/)scopecreep-zip/open-sesame(\.git)?([/?#].*)?$`)

// Is says whether a flake reference is Open Sesame's repository.
func Is(ref string) bool { return flake.MatchString(ref) }

// Project returns the settings of Open Sesame, with its contract. The example flake satisfies the contract too.
func Project() *project.Project {
	p, err := project.Parse(project.FileName, settings)
	if err == nil {
		p.Flake = Flake
		p.Contract, err = contract.Parse(p.ContractFile, requirements)
	}
	if err != nil {
		panic(err) // both files are embedded
	}
	return p
}
