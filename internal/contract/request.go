package contract

import (
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Request is about the evaluation of one system.
type Request struct {
	System matrix.System
	// Flake is a locked reference for builtins.getFlake; Dir is the flake's directory as Nix sees it.
	Flake, Dir string
	// HomeManager is a reference of Home Manager; empty to use this package's own declarations of its options.
	HomeManager string
}

// Build is what was built for a system.
type Build struct {
	System matrix.System
	// Outputs are the "out" outputs of the packages.
	Outputs map[matrix.Package]nix.StorePath
	// Closure is that of all outputs together. [nix.Closure] returns that of one output.
	Closure []nix.PathInfo
	// Objects are the files of the store objects that [Contract.Exported] returns, and of the environment.
	Objects map[nix.StorePath]*Tree
	// Sandboxed says whether the packages were built in a sandbox; nil where nothing was built.
	Sandboxed *bool
	// Environment is the output of [Contract.Environment]; empty where it returned no expression.
	Environment nix.StorePath
}

// The step "contract" of package pipelines calls, for each system:
//
//	c.Static(dir, now)                  []Result, before an engine is opened
//	c.Evaluate(request, eval)           []Result, error: eval runs nix eval; once, where everything evaluates
//	c.Environment(build)                string: an expression for nix-build, or ""
//	c.Exported(build)                   []nix.StorePath: the objects that ReadTrees reads, by one x.Export
//	ReadTrees(stream)                   map[nix.StorePath]*Tree, error
//	c.Built(build)                      []Result
//	c.Planned()                         []string: Finish adds a failure for each without a result
