// Package opensesame has the settings of Open Sesame, as data. No other package names it.
package opensesame

import (
	_ "embed"
	"net/url"
	"regexp"
	"strings"

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

// flake matches the references of Open Sesame's repository, at any commit, without their parameters.
var flake = regexp.MustCompile(`(?i)^(github:scopecreep-zip/open-sesame(/.*)?|git\+https://github\.com/scopecreep-zip/open-sesame(\.git)?)$`)

// Is says whether a flake reference is Open Sesame's repository at GitHub.
func Is(ref string) bool {
	repository, parameters, _ := strings.Cut(ref, "?")
	values, err := url.ParseQuery(parameters)
	return err == nil && !values.Has("host") && !strings.Contains(repository, "..") && flake.MatchString(repository)
}

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
