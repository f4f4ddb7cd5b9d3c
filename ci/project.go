package main

import (
	"github.com/scopecreep-zip/open-sesame-ci/ci/opensesame"
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
)

// defaultProject is what is released if the command line names no flake.
var defaultProject = *opensesame.Project()

// exampleFlake names the flake that is built into this program.
const exampleFlake = "example"

// exampleProject has the packages of the default project and needs no network.
var exampleProject = project.Project{
	Flake:    exampleFlake,
	Packages: defaultProject.Packages,
	Systems:  defaultProject.Systems,
	// It also satisfies the requirements that are warnings for the default project.
	Contract: withStrict(*defaultProject.Contract),
	Trust:    project.Trust{SecretEnv: defaultProject.SecretEnv},
}

// projectOf returns the project of a flake reference. A flake other than the example and the repository of the default
// project has settings that publish nothing and require nothing.
func projectOf(ref string) project.Project {
	p := *project.Default()
	switch {
	case ref == exampleFlake:
		return exampleProject
	case opensesame.Is(ref):
		p = defaultProject
	}
	p.Flake = ref
	return p
}

// isEmbedded reports whether the settings of a flake that extend trust are those that this program has for it.
func isEmbedded(ref string, t project.Trust) bool {
	return opensesame.Is(ref) && sameTrust(t, defaultProject.Trust)
}

// withStrict returns a contract whose warnings are failures.
func withStrict(c contract.Contract) *contract.Contract {
	c.Strict = true
	return &c
}
