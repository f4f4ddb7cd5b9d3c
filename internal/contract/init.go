package contract

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Inventory is what a flake has: the names of its outputs, and what was built.
type Inventory struct {
	// Tree is the flake's directory.
	Tree  string
	Build Build
	// Derivations are those of the packages.
	Derivations map[matrix.Package]nix.StorePath
	Names       Names
	// Systems are those that the contract is for.
	Systems []matrix.System
}

// Names is the value of [NamesExpression].
type Names struct {
	Overlays  []string
	Modules   []string
	Packages  map[matrix.System][]string
	DevShells map[matrix.System][]string
	Default   nix.StorePath // the derivation of packages.<system>.default; empty where there is none
}

// NamesExpression returns an expression for the names of a flake's outputs.
func NamesExpression(r Request) string {
	return fmt.Sprintf(`let
  flake = builtins.getFlake %s;
  names = set: builtins.attrNames set;
  bySystem = builtins.mapAttrs (_: set: let tried = builtins.tryEval (names set); in if tried.success then tried.value else [ ]);
in {
  overlays = names (flake.overlays or { });
  modules = names (flake.homeManagerModules or { });
  packages = bySystem (flake.packages or { });
  devShells = bySystem (flake.devShells or { });
  default = flake.packages.%[2]s.default.drvPath or null;
}`, nix.Quote(r.Flake), r.System)
}

// Draft returns a first contract, made of what a flake has. Its author has to add what the module does, which files
// rebuild a package, and how its tests are isolated.
func Draft(in Inventory) *Contract {
	c := &Contract{Packages: map[matrix.Package]Package{}}
	c.Outputs = Outputs{Modules: in.Names.Modules, DevShells: in.onEachSystem(in.Names.DevShells)}
	for _, name := range in.onEachSystem(in.Names.Packages) {
		if p := matrix.Package(name); in.Build.Outputs[p] != "" {
			c.Outputs.Packages = append(c.Outputs.Packages, p)
		}
	}
	for _, p := range c.Outputs.Packages {
		if in.Names.Default != "" && in.Derivations[p] == in.Names.Default {
			c.Outputs.Default = p
		}
	}
	if slices.Contains(in.Names.Overlays, "default") {
		c.Outputs.Overlay = "default"
	}
	units := map[string]directives{}
	for _, p := range c.Outputs.Packages {
		c.Packages[p] = draftPackage(in.Build.Files, string(in.Build.Outputs[p]), units)
	}
	if len(units) > 0 {
		c.Units = &Units{Dir: unitDir, Forbidden: []string{"/usr/bin"}, Service: common(units)}
	}
	c.draftFiles(in.Tree)
	return c
}

// onEachSystem returns the names that all systems have.
func (in Inventory) onEachSystem(names map[matrix.System][]string) (common []string) {
	for i, system := range in.Systems {
		if i == 0 {
			common = slices.Clone(names[system])
		}
		common = slices.DeleteFunc(common, func(name string) bool { return !slices.Contains(names[system], name) })
	}
	return common
}

// unitDir is where packages keep the units of systemd's user sessions.
const unitDir = "lib/systemd/user"

// draftPackage returns the programs and units of an output, and collects the directives of its services.
func draftPackage(files Files, out string, services map[string]directives) (p Package) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, base := files[name], path.Base(name)
		switch path.Dir(name) {
		case path.Join(out, "bin"):
			if !strings.HasPrefix(base, ".") && (f.Executable() || f.Mode.Type() == fs.ModeSymlink) {
				p.Binaries = append(p.Binaries, base)
			}
		case path.Join(out, unitDir):
			if f.Mode.IsRegular() {
				p.Units = append(p.Units, base)
			}
			if f.Mode.IsRegular() && path.Ext(base) == ".service" {
				services[base] = parseUnit(string(f.Data))
			}
		}
	}
	return p
}

// common returns the directives that all services have in common, but for those that describe a single service.
func common(services map[string]directives) (all Expectations) {
	for _, d := range services {
		if all == nil { // the first
			all = Expectations{}
			for name, values := range d {
				all[name] = values
			}
		}
		maps.DeleteFunc(all, func(name string, values Values) bool {
			return name == "Description" || name == "ExecStart" || !slices.Equal(values, d[name])
		})
	}
	return all
}

// draftFiles adds what the tree has of Cargo.lock with its hashes, nixConfig and flake.lock.
func (c *Contract) draftFiles(tree string) {
	cargo := &Hashes{Lock: "Cargo.lock"}
	if packages, _, err := cargo.read(tree); err == nil && len(packages) > 0 {
		c.Hashes = cargo
		_ = eachNixFile(tree, func(file, text string) error { // a file that cannot be read adds nothing
			if slices.ContainsFunc(parseHashes(file, text, cargo.Lock), func(t hashTable) bool { return t.last > 0 }) {
				cargo.Files = append(cargo.Files, file)
			}
			return nil
		})
	}
	if text, err := readFile(tree, "flake.nix"); err == nil {
		settings := readNixConfig(string(text)).settings
		n := NixConfig{Substituters: settings["extra-substituters"].values, Keys: settings["extra-trusted-public-keys"].values}
		if len(n.Substituters)+len(n.Keys) > 0 {
			c.NixConfig = &n
		}
	}
	if lock, err := flake.ReadLock(tree); err == nil {
		c.Lock = &Lock{}
		if _, ok := lock.Nodes[lock.Root].Inputs["nixpkgs"]; ok {
			c.Lock.Nixpkgs, c.Lock.MaxAgeDays = "nixpkgs", 90
		}
	}
}

// Encode returns a contract as TOML.
func (c *Contract) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := toml.NewEncoder(&b)
	enc.Indent = ""
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("encode contract: %v", err)
	}
	return b.Bytes(), nil
}
