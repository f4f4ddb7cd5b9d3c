package contract

import (
	_ "embed"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

//go:embed evaluate.nix
var evaluateNix string

// question is the argument of evaluate.nix.
type question struct {
	Nixpkgs         string           `json:"nixpkgs"`
	Packages        []matrix.Package `json:"packages"`
	Attributes      map[string]bool  `json:"attributes"` // of a package's derivation
	Overlays        []string         `json:"overlays"`
	OverlayPackages []matrix.Package `json:"overlayPackages"`
	OverlayNeeds    [][]string       `json:"overlayNeeds"`
	Modules         []string         `json:"modules"`
	Shells          []string         `json:"shells"`

	Sources []matrix.Package `json:"sources"`
	Ignores []string         `json:"ignores"`
	Follows []string         `json:"follows"`

	Module      string `json:"module"`
	ConfigFile  string `json:"configFile"`
	HomeManager string `json:"homeManager"`

	Option   []string       `json:"option"`
	Levels   []string       `json:"levels"`
	Settings map[string]any `json:"settings"`
	Profiles map[string]any `json:"profiles"`
}

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

func (c *Contract) question() question {
	q := question{
		Nixpkgs:         "nixpkgs",
		Packages:        c.evaluatedPackages(),
		Attributes:      map[string]bool{},
		Overlays:        named(c.Outputs.Overlay),
		OverlayPackages: list(c.Outputs.OverlayPackages),
		OverlayNeeds:    [][]string{},
		Modules:         list(c.Outputs.Modules),
		Shells:          list(c.Outputs.DevShells),
		Settings:        settings,
		Profiles:        profiles,
	}
	if c.Lock != nil && c.Lock.Nixpkgs != "" {
		q.Nixpkgs = c.Lock.Nixpkgs
	}
	for _, overlay := range c.Outputs.OverlayNeeds {
		q.OverlayNeeds = append(q.OverlayNeeds, strings.Split(overlay, "."))
	}
	for _, name := range slices.Concat(featureAttributes, testAttributes) {
		q.Attributes[name] = true
	}
	q.Sources, q.Ignores, q.Follows, q.Levels = []matrix.Package{}, []string{}, []string{}, []string{}
	if f := c.SourceFilter; f != nil {
		q.Sources, q.Ignores, q.Follows = list(f.Packages), list(f.Ignores), list(f.Follows)
	}
	if hm := c.HomeManager; hm != nil {
		q.Module, q.Option, q.ConfigFile = hm.Module, strings.Split(hm.Option, "."), hm.ConfigFile
		if len(hm.LogLevels) > 0 {
			q.Levels = append(slices.Clone(hm.LogLevels), badLevel)
		}
	}
	return q
}

// evaluatedPackages returns all packages that the contract names, in order.
func (c *Contract) evaluatedPackages() []matrix.Package {
	names := map[matrix.Package]bool{}
	for _, p := range c.Outputs.Packages {
		names[p] = true
	}
	if c.Outputs.Default != "" {
		names[c.Outputs.Default], names["default"] = true, true
	}
	for p := range c.Packages {
		names[p] = true
	}
	if c.PreCheck != nil {
		for _, p := range c.PreCheck.Packages {
			names[p] = true
		}
	}
	if hm := c.HomeManager; hm != nil {
		for _, p := range []matrix.Package{hm.Headless.Package, hm.Desktop.Package} {
			if p != "" {
				names[p] = true
			}
		}
	}
	return list(slices.Sorted(maps.Keys(names)))
}

// Expression returns the expression whose value has the answers for [Contract.Evaluate]. It is pure: a flake that is
// given by a locked reference evaluates as it does for its consumers.
func (c *Contract) Expression(r Request) string { return c.expression(r, "null") }

// expression returns the expression for one of the answers, whose errors are not caught; for all where only is "null".
func (c *Contract) expression(r Request, only string) string {
	q := c.question()
	q.HomeManager = r.HomeManager
	ask, err := json.Marshal(q)
	if err != nil {
		panic(err) // it has only strings
	}
	return "(" + evaluateNix + ") {\n" +
		"  flake = builtins.getFlake " + nix.Quote(r.Flake) + ";\n" +
		"  system = " + nix.Quote(string(r.System)) + ";\n" +
		"  ask = builtins.fromJSON " + nix.Quote(string(ask)) + ";\n" +
		"  only = " + only + ";\n}"
}

// list returns a copy that is never nil, so that JSON has an array for it.
func list[T any](s []T) []T { return append([]T{}, s...) }

// named returns a list of the name, where there is one.
func named(name string) []string {
	if name == "" {
		return []string{}
	}
	return []string{name}
}
