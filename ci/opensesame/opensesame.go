// Package opensesame has the settings of Open Sesame, as data. No other package names it.
package opensesame

import (
	_ "embed"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
)

var (
	//go:embed target.toml
	target []byte
	//go:embed contract.toml
	requirements []byte
)

// Project returns the settings of Open Sesame, with its contract. The example flake satisfies the contract too.
func Project() *project.Project {
	p, err := project.Parse("target.toml", target)
	if err == nil {
		p.Contract, err = contract.Parse(p.ContractFile, requirements)
	}
	if err != nil {
		panic(err) // both files are embedded
	}
	return p
}
