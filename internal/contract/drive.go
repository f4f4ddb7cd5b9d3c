package contract

import (
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Request is what the one evaluation of a system is about.
type Request struct {
	System matrix.System
	// Flake is a locked reference, fit for builtins.getFlake; Dir the flake's directory where Nix finds it.
	Flake, Dir string
	// HomeManager is a reference of Home Manager; empty where its options are declared by this package alone.
	HomeManager string
}

// Build is what was built for a system.
type Build struct {
	System matrix.System
	// Outputs are the "out" outputs of the packages.
	Outputs map[matrix.Package]nix.StorePath
	// Closure is of all outputs together, with references: nix.Closure tells what of it is whose.
	Closure []nix.PathInfo
	// Objects are the files of those store objects that [Contract.Exported] has asked for, and of the environment.
	Objects map[nix.StorePath]*Tree
	// Sandboxed says whether the packages were built in a sandbox; nil where nothing was built.
	Sandboxed *bool
	// Environment is what [Contract.Environment] was built to; empty where it returned nothing to build.
	Environment nix.StorePath
}

// The step "contract" of package pipelines does, for each system:
//
//	c.Static(dir, now)                  before an engine is opened: []Result
//	c.Evaluate(request, eval)           []Result, error: eval runs nix eval --json --show-trace --expr, once where all is well
//	c.Environment(build)                string: an expression for nix-build, or ""
//	c.Exported(build)                   []nix.StorePath: what ReadTrees is to read, by one x.Export
//	ReadTrees(stream)                   map[nix.StorePath]*Tree, error
//	c.Built(build)                      []Result
//	c.Planned(system)                   []string: each reports by now, or Finish makes it fail; those of Static are its own
