package contract

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Environment returns an expression for the environment that nix profile install makes of the package whose programs have
// to be on PATH, and "" where no package requires that. It uses Nix's own builder of profiles.
func (c *Contract) Environment(b Build) string {
	name, ok := c.installed()
	out := b.Outputs[name]
	if !ok || out == "" {
		return ""
	}
	// Each package has: whether it is active, its priority, the number of its outputs, and the outputs.
	return `builtins.derivation {
  name = "contract-environment";
  system = "builtin";
  builder = "builtin:buildenv";
  manifest = builtins.toFile "contract-manifest" "";
  derivations = [ "true" "5" "1" (builtins.storePath ` + nix.Quote(string(out)) + `) ];
  preferLocalBuild = true;
  allowSubstitutes = false;
}`
}

// installed returns the package that is installed for the check of PATH: the first one with that requirement.
func (c *Contract) installed() (matrix.Package, bool) {
	for _, name := range slices.Sorted(maps.Keys(c.Packages)) {
		if len(c.Packages[name].OnPath) > 0 {
			return name, true
		}
	}
	return "", false
}

// onPath checks the programs in an environment that has only the package.
func (o *output) onPath(string) []Result {
	if first, _ := o.installed(); first != o.name {
		return skip("only one package is installed for this check: %s", first)
	}
	bin, err := o.files.find(path.Join(string(o.build.Environment), "bin"))
	if o.build.Environment == "" || err != nil {
		return fail("installed alone, it has no bin")
	}
	lacking := missing(o.required.OnPath, bin.names)
	if len(lacking) == 0 {
		return nil
	}
	// A warning: it is common in packages that rely on propagatedBuildInputs.
	return []Result{{
		Status: Warn, Wanted: strings.Join(o.required.OnPath, ", "), Found: strings.Join(bin.names, ", "),
		Reason: "not on PATH where it is installed alone: " + strings.Join(lacking, ", "),
		Fix: fmt.Sprintf("propagatedUserEnvPkgs = [ %s ];  # beside propagatedBuildInputs, which profiles and Home Manager do not follow",
			strings.ReplaceAll(joined(o.required.Propagates), ",", "")),
	}}
}
