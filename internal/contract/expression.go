package contract

import (
	_ "embed"
	"encoding/json"
	"maps"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

//go:embed evaluate.nix
var evaluateNix string

// The attributes of a derivation that determine how it is built and tested.
var (
	featureAttributes = []string{
		"cargoBuildNoDefaultFeatures", "buildNoDefaultFeatures", // of buildRustPackage
		"cargoBuildFlags", "cargoExtraArgs", "buildPhase", "buildCommand",
	}
	testAttributes = []string{"preCheck", "checkPhase", "doCheck"}
)

// badLevel is not a level of any logger.
const badLevel = "contract-loud"

// The module is configured with these values. Their names show their purpose in a message.
var (
	settings = map[string]any{"key_bindings": map[string]any{"g": map[string]any{"apps": []any{"contract-app"}}}}
	profiles = map[string]any{"contract-profile": map[string]any{"launch_profiles": map[string]any{"dev": map[string]any{"env": map[string]any{"RUST_LOG": "debug"}}}}}
)

// evaluatedPackages returns all packages that the contract names, in order.
func (c *Contract) evaluatedPackages() []matrix.Package {
	names := slices.AppendSeq(slices.Clone(c.Outputs.Packages), maps.Keys(c.Packages))
	if c.Outputs.Default != "" {
		names = append(names, c.Outputs.Default, "default")
	}
	if c.PreCheck != nil {
		names = append(names, c.PreCheck.Packages...)
	}
	if hm := c.HomeManager; hm != nil {
		names = append(names, hm.Headless.Package, hm.Desktop.Package)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(p matrix.Package) bool { return p == "" })
}

// Expression returns the expression whose value has the answers for [Contract.Evaluate]. It is pure: a flake that is
// given by a locked reference evaluates as it does for its consumers.
func (c *Contract) Expression(r Request) string { return c.expression(r, "null") }

// expression returns the expression for one of the answers, whose errors are not caught; for all where only is "null".
func (c *Contract) expression(r Request, only string) string {
	ask, err := json.Marshal(map[string]any{
		"contract": c, "packages": c.evaluatedPackages(), "attributes": slices.Concat(featureAttributes, testAttributes),
		"badLevel": badLevel, "homeManager": r.HomeManager, "settings": settings, "profiles": profiles,
	})
	if err != nil {
		panic(err) // it has only strings, numbers and booleans
	}
	return "(" + evaluateNix + ") {\n" +
		"  flake = builtins.getFlake " + nix.Quote(r.Flake) + ";\n" +
		"  system = " + nix.Quote(string(r.System)) + ";\n" +
		"  ask = builtins.fromJSON " + nix.Quote(string(ask)) + ";\n" +
		"  only = " + only + ";\n}"
}
